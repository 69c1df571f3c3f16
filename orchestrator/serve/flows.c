#include "serve/flows.h"

const struct flow *const flows[] = {&flow_duties, &flow_windows, &flow_probes, &flow_chat, &flow_deploy, NULL};
