# Linux Xen memory series: the entry points.  `make help` lists them.

ARCH ?= x86_64
TREE ?= series

# KERNEL=PATH replaces the fetched base kernel: each has a tree of its own.
ifdef KERNEL
kernel_id := $(shell { realpath "$(KERNEL)"; git -C "$(KERNEL)" rev-parse HEAD || \
	stat -c %Y "$(KERNEL)"; } 2>/dev/null | sha256sum | cut -c 1-10)
BUILD_ROOT ?= $(CURDIR)/build/kernel-$(kernel_id)
endif
BUILD_ROOT ?= $(CURDIR)/build
export BUILD_ROOT KERNEL SOB

series := scripts/series --tree $(BUILD_ROOT)/linux

help:		## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16
	@echo
	@echo 'KERNEL=PATH     a git tree or source tarball in place of the fetched base'
	@echo 'SOB="N <mail>"  signs off what make mbox writes (V=2: the second posting)'
	@echo 'ARGS="gnt_busy"  what make compare runs (vm/compare --help)'
	@echo 'ARCH=arm64-64k  arm64 with 64 KB pages (arm64: 4 KB), for make run, kernel, bisect, ...'
	@echo 'vm/run --help   runs any command under Xen'

setup:		## install the Debian packages that are missing (asks first)
	@scripts/setup $(ARCH)

# phase NAME,COMMAND: says what begins, and how long it took
phase = @t=$$(date +%s); echo "== $(1)"; $(2) && \
	echo "== $(1): done in $$(($$(date +%s) - t)) s" || { echo "== $(1): failed" >&2; exit 1; }
ARCHES ?= $(ARCH)
all_arches = for arch in $(ARCHES); do $(1) "$$arch" || exit 1; done
ready := $(MAKE) --no-print-directory ready
arm_config := $(if $(filter arm64%,$(ARCH)),--configs $(ARCH))

ready:		## set up, fetch and build what a boot takes (ARCHES="x86_64 arm64 arm64-64k")
	@mkdir -p build
	$(call phase,packages,scripts/setup $(ARCHES))
	$(call phase,base kernel,scripts/base)
	$(call phase,kernel tree,$(series) tree)
	$(call phase,root file systems,$(call all_arches,vm/rootfs))
	$(call phase,kernel and modules and selftests,$(call all_arches,scripts/build series))

run: ready	## set up, fetch, build, boot Xen with dom0 and domU, run the tests
	@echo "== Xen, dom0, domU: selftests and KUnit"
	@vm/test $(arm_config)

check:		## the tests: series, static checks, harness, KUnit, selftests
	@scripts/setup docs
	@$(ready) ARCHES="x86_64 arm64-64k"
	@scripts/check

check-all:	## the rest, hours: every patch, debug kernels, KASAN, stress
	@scripts/setup arm
	@$(ready) ARCHES="x86_64 arm64 arm64-64k"
	@vm/rootfs --hvm
	@CONFIGS=$(CURDIR)/vm/config/debug.config VARIANT=debug scripts/build series
	@CONFIGS=$(CURDIR)/vm/config/kasan.config VARIANT=kasan scripts/build series
	@CONFIGS="$(CURDIR)/vm/config/debug.config $(CURDIR)/vm/config/kasan.config" \
		VARIANT=debug scripts/build series arm64-64k
	@scripts/check --all

bisect:		## build the kernel at every patch, and boot each (FIRST=N: from the Nth on)
	@scripts/bisect --arch $(ARCH) $(FIRST)

compare: ready	## the kselftests on the base and on the series, side by side
	@scripts/build base $(ARCH)
	@vm/compare $(arm_config) $(ARGS)

bench:		## measure the series against the base: build/bench/report.html (PART=... for one)
	@bench/run --check $(ARCH) $(PART)
	@scripts/setup bench
	@$(ready)
	@scripts/build base $(ARCH)
	@bench/run $(or $(PART),$(if $(arm_config),foreign-map-$(ARCH)))

docs:		## build the pages of Documentation/xen and admin-guide/xen as HTML, and check them
	@mkdir -p build
	@scripts/setup docs
	@scripts/base
	@$(series) tree
	@scripts/docs

tree:		## repo -> kernel tree build/linux, one commit a patch
	@mkdir -p build
	@scripts/base
	@$(series) tree

patches:	## kernel tree -> repo
	@$(series) patches

mbox:		## the mail-ready series in build/mbox
	@mkdir -p build
	@scripts/base
	@$(series) mbox $(if $(SOB),--sob "$(SOB)") $(if $(V),--version $(V))

kernel:		## build kernel, modules, selftests (TREE=series|base)
	@scripts/build $(TREE) $(ARCH)

deb:		## Debian packages of the series, to install (KERNEL_CONFIG=FILE, LSMOD=FILE)
	@mkdir -p build
	@scripts/setup deb
	@scripts/base
	@$(series) tree
	@scripts/deb $(ARCH)

deb-boot: ready	## boot that package as dom0 of a Debian, with its initramfs (ARGS="--dom0 pvh")
	@scripts/setup deb
	@vm/deb $(ARGS)

rootfs:		## build the guests' root file systems
	@vm/rootfs $(ARCH)

shell: ready	## a shell in dom0 (Ctrl-A x quits; ARGS="--in domu": in a domU)
	@vm/run --arch $(ARCH) --shell $(ARGS)

kernel-path:	## print the image to boot (TREE=series|base)
	@. ./vm/facts/$(ARCH) && echo "$(BUILD_ROOT)/$(ARCH)/$(TREE)/$$IMAGE"

clean:		## remove what was built; the fetched base and the tree stay
	rm -rf $(BUILD_ROOT)/x86_64 $(BUILD_ROOT)/arm64 $(BUILD_ROOT)/arm64-64k \
		$(BUILD_ROOT)/bench $(BUILD_ROOT)/docs build/rootfs build/xen build/logs build/results build/tmp $(BUILD_ROOT)/static-mbox
	@for tree in base bisect; do \
		[ ! -d $(BUILD_ROOT)/linux-$$tree ] || git -C $(BUILD_ROOT)/linux \
			worktree remove --force $(BUILD_ROOT)/linux-$$tree; done

.PHONY: help setup ready run check check-all bisect compare bench docs tree patches mbox kernel deb deb-boot rootfs shell kernel-path clean
.DEFAULT_GOAL := help
