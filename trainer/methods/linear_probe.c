/* Linear probe: the head alone; the baseline of every check. */
#include "trainer/method.h"

const struct method_kind method_linear_probe = {.name = "linear_probe", .paper = ""};
