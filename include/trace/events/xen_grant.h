/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM xen_grant

#if !defined(_TRACE_XEN_GRANT_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_XEN_GRANT_H

#include <linux/tracepoint.h>

struct gnttab_unmap_request;

/* A request waits for those of its pages that are in use. */
TRACE_EVENT(xen_gnttab_unmap_queue,
	    TP_PROTO(const struct gnttab_unmap_request *req),
	    TP_ARGS(req),
	    TP_STRUCT__entry(__field(const void *, req)
			     __field(unsigned int, pages)
			     __field(unsigned int, waits)
		    ),
	    TP_fast_assign(__entry->req = req;
			   __entry->pages = req->count;
			   __entry->waits = req->waits),
	    TP_printk("request %p pages %u in use %u",
		      __entry->req, __entry->pages, __entry->waits)
	);

/* Requests that wait were looked at. */
TRACE_EVENT(xen_gnttab_unmap_retry,
	    TP_PROTO(unsigned int requests, unsigned int pages),
	    TP_ARGS(requests, pages),
	    TP_STRUCT__entry(__field(unsigned int, requests)
			     __field(unsigned int, pages)
		    ),
	    TP_fast_assign(__entry->requests = requests;
			   __entry->pages = pages),
	    TP_printk("requests %u pages %u", __entry->requests,
		      __entry->pages)
	);

/* A hypercall for pages of which others were, or are, in use. */
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

/* A request that has waited is given back. */
TRACE_EVENT(xen_gnttab_unmap_done,
	    TP_PROTO(const struct gnttab_unmap_request *req, unsigned int ms),
	    TP_ARGS(req, ms),
	    TP_STRUCT__entry(__field(const void *, req)
			     __field(unsigned int, pages)
			     __field(int, result)
			     __field(unsigned int, ms)
		    ),
	    TP_fast_assign(__entry->req = req;
			   __entry->pages = req->count;
			   __entry->result = req->result;
			   __entry->ms = ms),
	    TP_printk("request %p pages %u result %d after %u ms",
		      __entry->req, __entry->pages, __entry->result,
		      __entry->ms)
	);

#endif /* _TRACE_XEN_GRANT_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
