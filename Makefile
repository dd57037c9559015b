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

run:		## set up, fetch, build, boot Xen with dom0 and domU, run the tests
	@mkdir -p build
	@scripts/loop $(ARCH)

check:		## the tests: series, static checks, harness, KUnit, selftests
	@mkdir -p build
	@scripts/setup docs
	@scripts/loop --build x86_64 arm64-64k
	@scripts/check

check-all:	## the rest, hours: every patch, debug kernels, KASAN, stress
	@mkdir -p build
	@scripts/setup arm
	@scripts/loop --build x86_64 arm64 arm64-64k
	@CONFIGS=$(CURDIR)/vm/config/debug.config VARIANT=debug scripts/build series
	@CONFIGS=$(CURDIR)/vm/config/kasan.config VARIANT=kasan scripts/build series
	@CONFIGS="$(CURDIR)/vm/config/debug.config $(CURDIR)/vm/config/kasan.config" \
		VARIANT=debug scripts/build series arm64-64k
	@scripts/check --all

bisect:		## build the kernel at every patch, and boot each (FIRST=N: from the Nth on)
	@scripts/bisect --arch $(ARCH) $(FIRST)

compare:	## the kselftests on the base and on the series, side by side
	@mkdir -p build
	@scripts/loop --build $(ARCH)
	@scripts/build base $(ARCH)
	@vm/compare $(if $(filter arm64%,$(ARCH)),--configs $(ARCH)) $(ARGS)

bench:		## measure the series against the base: build/bench/report.html (PART=... for one)
	@bench/run --check $(ARCH) $(PART)
	@mkdir -p build
	@scripts/setup bench
	@scripts/loop --build $(ARCH)
	@scripts/build base $(ARCH)
	@bench/run $(or $(PART),$(if $(filter arm64%,$(ARCH)),foreign-map-$(ARCH)))

docs:		## build the pages of Documentation/xen as HTML, and check them
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

deb-boot:	## boot that package as dom0 of a Debian, with its initramfs (ARGS="--dom0 pvh")
	@mkdir -p build
	@scripts/setup deb
	@scripts/loop --build
	@vm/deb $(ARGS)

rootfs:		## build the guests' root file systems
	@vm/rootfs $(ARCH)

shell:		## an interactive dom0 console (Ctrl-A x quits)
	@vm/run --shell

kernel-path:	## print the image to boot (TREE=series|base)
	@echo $(BUILD_ROOT)/$(ARCH)/$(TREE)/$(if $(filter arm64%,$(ARCH)),arch/arm64/boot/Image,arch/x86/boot/bzImage)

clean:		## remove what was built; the fetched base and the tree stay
	rm -rf $(BUILD_ROOT)/x86_64 $(BUILD_ROOT)/arm64 $(BUILD_ROOT)/arm64-64k \
		$(BUILD_ROOT)/bench $(BUILD_ROOT)/docs build/rootfs build/xen build/logs build/results build/tmp $(BUILD_ROOT)/static-mbox
	@for tree in base bisect; do \
		[ ! -d $(BUILD_ROOT)/linux-$$tree ] || git -C $(BUILD_ROOT)/linux \
			worktree remove --force $(BUILD_ROOT)/linux-$$tree; done

.PHONY: help setup run check check-all bisect compare bench docs tree patches mbox kernel deb deb-boot rootfs shell kernel-path clean
.DEFAULT_GOAL := help
