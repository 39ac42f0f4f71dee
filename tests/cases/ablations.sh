# SPDX-License-Identifier: MIT
# specs/ablations: every study checks; the layer ablation, made small, computes for its second strategy only what differs;
# the same studies run on a Hugging Face pair through qwen/pair.yaml.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
studies="control layers origin structure seeds n_seeds rank teacher"
dir=$PKG_SOURCE/specs/ablations
for s in $studies; do
    pk check "$dir/$s.yaml"; is_status 0 "$s"
    pk check "$dir/qwen/$s.yaml"; is_status 2 "$s on Qwen without its models"
    says_not unknown "$s on Qwen"
done

# the quickstart pair, made small
small="--set rows=64 --set teacher-start.hidden_size=32 --set teacher-start.intermediate_size=48 --set student-start.hidden_size=16
 --set teacher-start.num_attention_heads=2 --set teacher-start.num_key_value_heads=2 --set student-start.num_attention_heads=1
 --set student-start.num_key_value_heads=1 --set student-start.intermediate_size=24 --set student-rows.rows=64 --set rows.rows=32
 --set test.rows=8 --set seeds.rows=4 --set student-exact.max_new_tokens=2 --set svd-exact.max_new_tokens=2"
# shellcheck disable=SC2086
pk run "$dir/layers.yaml" $small --set layers.strategy=sensitivity --events ev; is_status 0 "one strategy"
first=$(ran ev | wc -w)
# shellcheck disable=SC2086
pk run "$dir/layers.yaml" $small --set layers.strategy=last --events ev; is_status 0 "the second"
[ "$(ran ev)" = "blocks layers svd svd-exact svd-loss svd-start" ] || fail "of $first nodes the second ran: $(ran ev)"
# shellcheck disable=SC2086
pk run "$dir/layers.yaml" $small --events ev; is_status 0 "all four"
case $(ran ev) in *strategy=last*) fail "the second strategy ran again" ;; esac
# shellcheck disable=SC2086
pk compare "$dir/layers.yaml" $small --format csv; is_status 0 "compare"
says "kind,node,field,layers.strategy=sensitivity,layers.strategy=random,layers.strategy=first,layers.strategy=last"
says "metric,svd-loss,loss,"

# the Qwen pair: its specs on two small models in Hugging Face's form
tiny_spec s.yaml
pk run s.yaml; is_status 0 "the tiny pipeline"
pk export s.yaml teacher big --as hf; is_status 0 "a teacher"
pk export s.yaml student little --as hf; is_status 0 "a student"
printf '{"messages": [{"role": "user", "content": "2+3"}, {"role": "assistant", "content": "5"}]}\n%.0s' $(seq 200) >rows.jsonl
for s in control structure; do
    pk run "$dir/qwen/$s.yaml" --set teacher=big --set student=little --set seed_rows=rows.jsonl --set train_rows=rows.jsonl --set r=2
    is_status 0 "$s on a Hugging Face pair"
    says loss
done
finish
