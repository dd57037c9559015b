/* SPDX-License-Identifier: GPL-2.0 */
/* The two types that <xen/privcmd.h> takes from the unexported interface. */
#include <stddef.h>
#include <stdint.h>

typedef uint16_t domid_t;
typedef uint64_t xen_pfn_t;
