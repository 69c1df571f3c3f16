/* Between process.c and its guard. */
#ifndef ORCH_IO_PROCESS_PRIVATE_H
#define ORCH_IO_PROCESS_PRIVATE_H

/* Tells the guard, if there is one, about a group that must not outlive this process. */
void process_guard_remember(int group);
void process_guard_forget(int group);

#endif
