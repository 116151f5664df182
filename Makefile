# SPDX-License-Identifier: GPL-2.0
# The entry point for users; see `make help`. Has no kbuild rules.

KERNEL	?=
MACHINE	?=
DEMO	?=
TEST	?=
SUITE	?=
PARAMETERS ?=
KSRC	?=
CONFIG	?=
OUT	?=
DEB	?=
V	?=
export KSRC V

kernel	:= $(or $(KERNEL),plain)
demo	:= $(or $(DEMO),copy)
lab	:= lab/lab.py
each	= $(foreach word,$(2),$(1) '$(word)')

.PHONY: help demo check soak coverage lint kunit selftests bench tree deb versions kernel shell docs lsp2p clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo         copy from SSD to SSD past system memory, in QEMU, and show where the bytes went'
	@echo '                  DEMO=nvmet: likewise the NVMe target over RDMA, its buffers in an SSD'
	@echo 'make check        lint, build and test everything (what CI runs)'
	@echo 'make soak         all tests on all machines, what takes long, and the benchmark; takes hours'
	@echo 'make coverage     which lines of ours no test runs: build/coverage/index.html'
	@echo 'make selftests    run the selftests; MACHINE= and TEST= narrow them: TEST="io heap:import.*"'
	@echo 'make kunit        run the KUnit suites; SUITE=glob or SUITE=suite.test narrows them,'
	@echo '                  PARAMETERS="..." are for the kernel'
	@echo 'make bench        count what it costs, beside the stock core (kernels plain and stock); draws it, too'
	@echo 'make shell        a prompt in a guest; "exit" or "poweroff" ends it'
	@echo 'make kernel       build one kernel into build/KERNEL'
	@echo 'make tree         assemble build/src: base tree + our files + patches; OUT=dir puts it elsewhere'
	@echo 'make deb          Debian packages of the kernel; CONFIG=debian (default; hours), lean or a file'
	@echo 'make lsp2p        build/lsp2p/lsp2p, which tells what stands between two devices; needs no kernel;'
	@echo '                  DEB=1: a Debian package of it, DESTDIR=dir: install it there'
	@echo 'make versions     assemble and compile on every linux-source-6.12 that apt offers (minutes for each)'
	@echo 'make lint         check the sources'
	@echo 'make docs         check the documents'
	@echo 'make clean        remove build/'
	@echo
	@echo 'KERNEL=plain|debug|stock   which kernel (default plain; stock has the base P2PDMA)'
	@echo 'KERNEL=stock-debug         the stock kernel with the checkers of debug'
	@echo 'KERNEL=kcsan               for KUnit alone: looks for data races'
	@echo 'KERNEL=gcov                counts which lines run, for "make coverage"'
	@echo 'MACHINE="name..."          which machines:'
	@! command -v python3 > /dev/null || $(lab) machines | sed 's/^/    /'
	@echo 'KSRC=dir                   a Linux 6.12.y tree to use instead of the package linux-source-6.12'
	@echo 'V=1                        show all that the kernel build says'
	@echo
	@echo 'All that is generated, logs too, is below build/.'

demo: names need-lab
	@$(lab) demo --kernel $(kernel) --demo '$(demo)'

check: need-lab
	@base/need selftests lint docs lsp2p lsp2p-check
	@base/6.12/fetch
	@$(lab) check

soak: need-lab
	@base/need selftests bench lint lint-all docs lsp2p lsp2p-check
	@base/6.12/fetch
	@$(lab) soak

coverage: need-lab
	@base/need selftests coverage
	@base/6.12/fetch
	@$(lab) coverage

selftests: names kernel
	@base/need lab selftests
	@lab/selftests $(kernel)
	@$(lab) test --kernel $(kernel) $(call each,--machine,$(MACHINE)) $(call each,--test,$(TEST))

kunit: names need-lab kernel
	@$(lab) kunit --kernel $(kernel) --suite '$(SUITE)' --parameters '$(PARAMETERS)'

bench: need-lab
	@base/need bench
	@$(MAKE) --no-print-directory kernel KERNEL=plain
	@$(MAKE) --no-print-directory kernel KERNEL=stock
	@bench/bench

shell: names need-lab kernel
	@$(lab) shell --kernel $(kernel) $(call each,--machine,$(MACHINE))

kernel: names tree
	@base/6.12/kernel $(kernel)

tree:
	@base/need kernel
ifeq ($(and $(KSRC),$(OUT)),)
	@base/6.12/fetch
	@base/6.12/assemble build/src-stock $(or $(OUT),build/src)
	$(if $(filter stock stock-debug,$(kernel)),@base/6.12/assemble build/src-stock build/src-stock-tests tests)
else
	@base/6.12/fetch check
	@base/6.12/assemble $(KSRC) $(OUT)
endif

deb: tree
	@base/need kernel deb $(if $(filter debian,$(or $(CONFIG),debian)),deb-config)
	@base/6.12/deb '$(or $(CONFIG),debian)'

versions:
	@base/need kernel source
	@base/6.12/versions

lint: tree
	@base/need lint lint-all lsp2p lsp2p-check
	@lab/lint

docs: tree
	@base/need docs
	@lab/docs

# Nothing of it depends on a kernel.
lsp2p:
	@base/need lsp2p $(if $(DEB),lsp2p-deb)
	@$(MAKE) --no-print-directory -s -C tools/pci/lsp2p O='$(CURDIR)/build/lsp2p/' \
		$(if $(DEB),deb,$(if $(DESTDIR),install,all))
	@echo 'made $(if $(DEB),build/lsp2p/lsp2p_*.deb,$(if $(DESTDIR),$(DESTDIR)/usr/bin/lsp2p,build/lsp2p/lsp2p))'

clean:
	rm -rf build

# Check names before anything is built
.PHONY: names need-lab
names:
	@command -v python3 > /dev/null || base/need kernel
	@$(lab) known --kernel $(kernel) --demo '$(demo)' $(call each,--machine,$(MACHINE)) \
		$(if $(filter demo selftests shell,$(MAKECMDGOALS)),--boots)
need-lab:
	@base/need kernel lab
