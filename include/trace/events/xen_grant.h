/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM xen_grant

#if !defined(_TRACE_XEN_GRANT_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_XEN_GRANT_H

#include <linux/tracepoint.h>

#include <xen/grant_table.h>

/* A request waits, because some of its pages are in use. */
TRACE_EVENT(xen_gnttab_unmap_queue,
	    TP_PROTO(const struct gnttab_unmap_request *req),
	    TP_ARGS(req),
	    TP_STRUCT__entry(__field(const void *, req)
			     __field(unsigned int, pages)
			     __field(unsigned int, busy)
		    ),
	    TP_fast_assign(__entry->req = req;
			   __entry->pages = req->count;
			   __entry->busy = req->left),
	    TP_printk("request %p pages %u busy %u",
		      __entry->req, __entry->pages, __entry->busy)
	);

/* A hypercall to unmap a run of grants */
TRACE_EVENT(xen_gnttab_unmap,
	    TP_PROTO(unsigned int grants, int ret),
	    TP_ARGS(grants, ret),
	    TP_STRUCT__entry(__field(unsigned int, grants)
			     __field(int, ret)
		    ),
	    TP_fast_assign(__entry->grants = grants;
			   __entry->ret = ret),
	    TP_printk("grants %u ret %d", __entry->grants, __entry->ret)
	);

/* No grant of a request waits any more. */
TRACE_EVENT(xen_gnttab_unmap_done,
	    TP_PROTO(const struct gnttab_unmap_request *req, s64 us),
	    TP_ARGS(req, us),
	    TP_STRUCT__entry(__field(const void *, req)
			     __field(unsigned int, pages)
			     __field(s64, us)
		    ),
	    TP_fast_assign(__entry->req = req;
			   __entry->pages = req->count;
			   __entry->us = us),
	    TP_printk("request %p pages %u after %lld us",
		      __entry->req, __entry->pages, __entry->us)
	);

#endif /* _TRACE_XEN_GRANT_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
