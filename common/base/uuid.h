/* UUID version 7 (RFC 9562): time-ordered ids made outside the database. */
#ifndef ORCH_BASE_UUID_H
#define ORCH_BASE_UUID_H

#define UUID_TEXT_SIZE 37
/* Lower case with dashes; milliseconds from clock_wall_us(), the rest from clock_random(). */
void uuid_v7(char out[UUID_TEXT_SIZE]);

#endif
