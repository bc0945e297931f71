/* uthash, made to answer a want of memory where it would end the process: after HASH_ADD… an element whose hh.tbl is
 * NULL was not added. */
#ifndef COMMON_TABLE_H
#define COMMON_TABLE_H

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#endif
