/* SPDX-License-Identifier: MIT
 *
 * threads: how the OpenMP runtime waits. libgomp spins at barriers for about a millisecond unless told otherwise, which
 * loses badly as soon as another process (or another node) wants the core: 2 threads on 2 busy cores were seen to train
 * 15 to 20 times slower than with a short spin. It reads its settings when it is loaded, before main.
 */
#ifndef PKG_TOOLS_THREADS_H
#define PKG_TOOLS_THREADS_H

/* Starts the program again with a short spin, in this process, unless the user has set OMP_WAIT_POLICY or GOMP_SPINCOUNT
 * (or it is already so). Returns only when there is nothing to do, or when the system refuses: then all works, slower on
 * busy machines. Call it when no file is open that matters. */
void threads_block_soon(void);

#endif
