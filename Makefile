# Every command a person needs; `make help` lists them.
VARIANT ?= release#   build/<variant>/ side by side: release debug asan tsan coverage f64
BUILD   := build/$(VARIANT)
LAYERS  := common trainer worker orchestrator

CC      ?= gcc
FUZZ_CC ?= clang
PKGS    := libuv libcjson sqlite3 openblas libcrypto libutf8proc libpcre2-8 yaml-0.1
WARN    := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
           -Wformat=2 -Wundef -Wpointer-arith -Wwrite-strings -Werror
CFLAGS  ?= -O2 -g
# -ffp-contract=off: whether a product and a sum are fused must not depend on the compiler's mood.
STD     := -std=c11 -D_GNU_SOURCE -I. -I$(BUILD) -ffp-contract=off -fno-math-errno -fno-omit-frame-pointer -MMD -MP
VERSION := $(shell cat VERSION)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

VARIANT_FLAGS_debug := -O0
VARIANT_FLAGS_asan  := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -DNIGHTSWEEP_ASAN
VARIANT_FLAGS_tsan  := -O1 -fsanitize=thread
VARIANT_FLAGS_fuzz  := -w -O1 -fsanitize=fuzzer-no-link,address,undefined,float-cast-overflow -fno-sanitize-recover=all -DNIGHTSWEEP_ASAN
VARIANT_FLAGS_f64   := -DREAL_DOUBLE#   the trainer with real = double: the oracle of the gradient checks
VFLAGS  := $(VARIANT_FLAGS_$(VARIANT))
LINK     = $(CC) $(VFLAGS) $(LDFLAGS) $(COUNTERS:%=% -Wl,-T,tests/support/coverage/counters.ld -Wl,--build-id --coverage) -o $@
ALL_CFLAGS = $(STD) $(WARN) $(CFLAGS) $(VFLAGS) $(shell pkg-config --cflags $(PKGS))
LIBS     = $(shell pkg-config --libs $(PKGS)) -lm -lpthread -ldl
COORDINATOR_LIBS = $(shell pkg-config --libs libuv libcjson sqlite3 libcrypto yaml-0.1 libutf8proc) -lm -lpthread -ldl

srcs     = $(filter-out %/main.c,$(sort $(shell find $(1) -name '*.c')))
objs     = $(patsubst %.c,$(BUILD)/%.o,$(1))
LIBFILES := $(foreach l,$(LAYERS),$(BUILD)/lib$(l).a)
PROGRAMS := $(BUILD)/nightsweep $(BUILD)/nightsweep-worker $(BUILD)/nightsweep-trainer $(BUILD)/golden-run
UNIT     := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
GRADIENT := $(patsubst tests/gradient/%.c,$(BUILD)/gradient/%,$(wildcard tests/gradient/test_*.c))
FUZZ     := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
SUPPORT  := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/support/*.c))

.PHONY: all
all: $(PROGRAMS)        ## builds nightsweep, nightsweep-worker, nightsweep-trainer, golden-run into build/$(VARIANT)/

.SECONDEXPANSION:
$(LIBFILES): $(BUILD)/lib%.a: $$(call objs,$$(call srcs,$$*))
	@rm -f $@; ar rcs $@ $^

$(BUILD)/nightsweep: $(BUILD)/orchestrator/main.o $(BUILD)/liborchestrator.a $(BUILD)/libcommon.a
	$(LINK) $^ $(COORDINATOR_LIBS)
$(BUILD)/nightsweep-worker: $(BUILD)/worker/main.o $(BUILD)/libworker.a $(BUILD)/libcommon.a
	$(LINK) $^ $(shell pkg-config --libs libuv libcjson libcrypto) -lm -lpthread
$(BUILD)/nightsweep-trainer: $(BUILD)/trainer/main.o $(BUILD)/libtrainer.a $(BUILD)/libcommon.a
	$(LINK) $^ $(shell pkg-config --libs libcjson openblas libcrypto libutf8proc libpcre2-8) -lm -lpthread -ldl
$(BUILD)/golden-run: $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/golden/*.c)) $(BUILD)/libtrainer.a $(BUILD)/libcommon.a
	$(LINK) $^ $(shell pkg-config --libs libcjson openblas libcrypto libutf8proc libpcre2-8) -lm -lpthread -ldl

# Stands in for the trainer where the test is about worker or coordinator.
$(BUILD)/fake-trainer: $(BUILD)/tests/support/fake/fake_trainer.o $(BUILD)/libcommon.a
	$(LINK) $^ $(shell pkg-config --libs libcjson libcrypto) -lm -lpthread

# The coordinator in a simulated world, which takes the place of loop.o, pool.o, control.o and crash.o.
$(BUILD)/simulate: $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/simulate/*.c)) $(BUILD)/tests/support/faults/faults.o $(BUILD)/liborchestrator.a $(BUILD)/libcommon.a
	$(LINK) $^ $(COORDINATOR_LIBS)

# The search algorithms on the test functions (docs/search.md).
$(BUILD)/bench-search: $(patsubst %.c,$(BUILD)/%.o,$(wildcard bench/search/*.c)) $(BUILD)/liborchestrator.a $(BUILD)/libcommon.a
	$(LINK) $^ $(COORDINATOR_LIBS)

# What the coordinator carries (docs/scale.md).
BENCH_COORDINATOR := $(BUILD)/bench-worker $(BUILD)/bench-spawn
$(BUILD)/bench-worker: $(BUILD)/bench/coordinator/bench_worker.o $(BUILD)/libcommon.a
	$(LINK) $^ $(shell pkg-config --libs libcjson libcrypto) -lm -lpthread
$(BUILD)/bench-spawn: $(BUILD)/bench/coordinator/bench_spawn.o
	$(LINK) $^

# The dispatch files: one kernel source, compiled once per instruction set and chosen at run time.
ifeq ($(shell uname -m),x86_64)
$(BUILD)/trainer/kernels_portable.o: ISA := -O3
$(BUILD)/trainer/kernels_avx2.o:   ISA := -mavx2 -mfma -ffp-contract=fast -O3
$(BUILD)/trainer/kernels_avx512.o: ISA := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512 -ffp-contract=fast -O3
endif
# Loops over thousands of points a proposal: worth the vectoriser.
$(BUILD)/orchestrator/search_gp_model.o $(BUILD)/orchestrator/search_tpe.o: ISA := -O3
ifeq ($(VARIANT),coverage)
# What is measured counts every branch as it is written, so without optimization; the kernels and the tests are not.
$(patsubst %,$(BUILD)/%/%.o,$(LAYERS)): MEASURE = -O0 --coverage -fdata-sections
$(BUILD)/trainer/kernels_portable.o $(BUILD)/trainer/kernels_avx2.o $(BUILD)/trainer/kernels_avx512.o: MEASURE :=
COUNTERS := $(BUILD)/tests/support/coverage/counters.o
$(COUNTERS): MEASURE = -DCOVERAGE_FOLDER='"$(abspath $(BUILD))/counters"'
$(LIBFILES): | $(COUNTERS)
endif
$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ISA) $(MEASURE) -c -o $@ $<
$(BUILD)/common/version.o: ALL_CFLAGS += -DNIGHTSWEEP_VERSION='"$(VERSION)"' -DNIGHTSWEEP_COMMIT='"$(COMMIT)"'
$(BUILD)/common/version.o: $(BUILD)/commit
# Files that are part of a program, as the text of a C initialiser.
$(BUILD)/embed/%.inc: %
	@mkdir -p $(@D); od -An -v -tx1 $< | sed 's/ \(..\)/0x\1,/g' > $@
# The page's script: the files of dashboard/js in order, in one scope of their own.
$(BUILD)/embed/dashboard/page.js.inc: $(sort $(wildcard dashboard/js/*.js))
	@mkdir -p $(@D); { echo '"use strict"; {'; cat $^; printf '}'; } | od -An -v -tx1 | sed 's/ \(..\)/0x\1,/g' > $@
$(BUILD)/orchestrator/export_page.o: $(patsubst %,$(BUILD)/embed/dashboard/%.inc,page.html page.css page.js)
$(BUILD)/orchestrator/store_migrate.o: $(BUILD)/embed/schemas/store.sql.inc $(patsubst %,$(BUILD)/embed/%.inc,$(wildcard schemas/migrations/*.sql))
# Everything is built again when the flags change, and what says the version when the commit does.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D); echo '$(CC) $(ALL_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS)' > $@
$(BUILD)/commit: FORCE
	@mkdir -p $(@D); echo '$(VERSION) $(COMMIT)' | cmp -s - $@ || echo '$(VERSION) $(COMMIT)' > $@
FORCE:

$(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(SUPPORT) $(LIBFILES)
	@mkdir -p $(@D)
	$(LINK) $< $(SUPPORT) $(BUILD)/liborchestrator.a $(BUILD)/libworker.a $(BUILD)/libtrainer.a $(BUILD)/libcommon.a $(LIBS) -lcriterion
# Allocations and calls to the file system that fail on request: linked into its tests, preloaded into programs.
FAULTS := $(patsubst %,$(BUILD)/tests/support/faults/%.o,faults paths)
$(filter $(BUILD)/unit/test_faults%,$(UNIT)): $(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(SUPPORT) $(FAULTS) $(LIBFILES)
	@mkdir -p $(@D)
	$(LINK) $< $(FAULTS) $(SUPPORT) $(BUILD)/liborchestrator.a $(BUILD)/libworker.a $(BUILD)/libtrainer.a $(BUILD)/libcommon.a $(LIBS) -lcriterion
$(BUILD)/faults.so: tests/support/faults/faults.c $(BUILD)/flags
	$(CC) $(STD) $(WARN) -O2 -DNIGHTSWEEP_ASAN -DFAULTS_PRELOADED -fPIC -shared -o $@ $< -ldl
$(BUILD)/gradient/%: $(BUILD)/tests/gradient/%.o $(BUILD)/libtrainer.a $(BUILD)/libcommon.a
	@mkdir -p $(@D)
	$(LINK) $< $(BUILD)/libtrainer.a $(BUILD)/libcommon.a $(LIBS) -lcriterion

FUZZ_SUPPORT := $(patsubst %.c,$(BUILD)/%.o,tests/fuzz/fuzz.c tests/fuzz/mutate_json.c tests/support/record_taker.c)
$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/%.o $(FUZZ_SUPPORT) $(LIBFILES)
	@mkdir -p $(@D)
	$(CC) $(VFLAGS) -fsanitize=fuzzer -o $@ $< $(FUZZ_SUPPORT) $(BUILD)/liborchestrator.a $(BUILD)/libworker.a $(BUILD)/libtrainer.a $(BUILD)/libcommon.a $(LIBS)

# Installing and fetching -------------------------------------------------------------------------------------------
.PHONY: deps models models-all data languages demo
deps:                   ## installs what is missing to build and test (Debian 12, root or sudo)
	@tools/deps.sh
models:                 ## brings the model of the ready sweeps into models/
	@tools/fetch.py models
models-all: models      ## brings a language model too, SmolLM2-135M-Instruct (a GGUF file of 98 MB), and instructions for it
	@tools/fetch.py smollm2 instructions
data:                   ## brings the data of the ready sweeps into data/
	@tools/fetch.py data
	@tools/make_multitask.py
	@tools/make_mixture.py
languages: all          ## makes four languages of our own and small models for them: data/languages, models/languages
	@BUILD=$(BUILD) tools/make_languages.sh
demo: deps              ## trains a real sweep of five methods in a few minutes and leaves its page in runs/
	@$(MAKE) --no-print-directory -s all models data
	@tools/demo.sh

# Installing: nightsweep finds its worker and trainer beside itself, so all three go into one folder.
prefix ?= /usr/local
INSTALL_BIN := $(DESTDIR)$(prefix)/bin
INSTALL_MAN := $(DESTDIR)$(prefix)/share/man/man1
INSTALL_COMPLETION := $(DESTDIR)$(prefix)/share/bash-completion/completions
ZSH_FOLDER ?= site-functions
INSTALL_ZSH := $(DESTDIR)$(prefix)/share/zsh/$(ZSH_FOLDER)
INSTALL_FISH := $(DESTDIR)$(prefix)/share/fish/vendor_completions.d
.PHONY: man install uninstall
man: $(BUILD)/nightsweep ## man pages and completions into build/$(VARIANT)/man/ and completion/, made from the table of subcommands
	@mkdir -p $(BUILD)/man
	@$(BUILD)/nightsweep --man > $(BUILD)/man/nightsweep.1
	@for c in $$($(BUILD)/nightsweep --commands); do $(BUILD)/nightsweep --man $$c > $(BUILD)/man/nightsweep-$$c.1; done
	@mkdir -p $(BUILD)/completion
	@$(BUILD)/nightsweep --completion bash > $(BUILD)/completion/nightsweep
	@$(BUILD)/nightsweep --completion zsh > $(BUILD)/completion/_nightsweep
	@$(BUILD)/nightsweep --completion fish > $(BUILD)/completion/nightsweep.fish
install: all man        ## installs programs, man pages and completion (DESTDIR=, prefix=/usr/local)
	install -d $(INSTALL_BIN) $(INSTALL_MAN) $(INSTALL_COMPLETION) $(INSTALL_ZSH) $(INSTALL_FISH)
	install -m 755 $(BUILD)/nightsweep $(BUILD)/nightsweep-worker $(BUILD)/nightsweep-trainer $(INSTALL_BIN)
	install -m 644 $(BUILD)/man/*.1 docs/man/*.1 $(INSTALL_MAN)
	install -m 644 $(BUILD)/completion/nightsweep $(INSTALL_COMPLETION)
	install -m 644 $(BUILD)/completion/_nightsweep $(INSTALL_ZSH)
	install -m 644 $(BUILD)/completion/nightsweep.fish $(INSTALL_FISH)
uninstall:              ## removes what install put there
	rm -f $(addprefix $(INSTALL_BIN)/,nightsweep nightsweep-worker nightsweep-trainer)
	rm -f $(INSTALL_MAN)/nightsweep.1 $(INSTALL_MAN)/nightsweep-*.1 $(INSTALL_COMPLETION)/nightsweep
	rm -f $(INSTALL_ZSH)/_nightsweep $(INSTALL_FISH)/nightsweep.fish

# The Debian package: built from a copy of the tracked files, so that it holds what the repository holds.
.PHONY: deb check-deb
deb:                    ## a Debian package into build/deb/ (apt: debhelper)
	@tools/deps.sh --deb
	@rm -rf build/deb && mkdir -p build/deb/nightsweep-$(VERSION)
	@{ git ls-files -z -- . ':!tests' ':!bench' ':!.ci'; git ls-files -z -- ':(glob)tests/golden/*.[ch]'; } | xargs -0 cp --parents -t build/deb/nightsweep-$(VERSION)
	@cd build/deb/nightsweep-$(VERSION) && COMMIT=$(COMMIT) nice dpkg-buildpackage -us -uc -b > ../build.log 2>&1 || { tail -30 ../build.log; exit 1; }
	@ls build/deb/*.deb
check-deb: deb          ## lintian accepts the package; unpacked it trains a small sweep
	@tests/support/check_deb.sh build/deb

# Tests -------------------------------------------------------------------------------------------------------------
.PHONY: check unit gradient golden e2e coverage check-interop check-page page-images check-slurm check-tsan check-valgrind fuzz fuzz-run torture lint format
check: deps             ## all tests: unit, gradient, golden, end to end (VARIANT=asan: under the sanitizers)
	@$(MAKE) --no-print-directory -s all
	@$(MAKE) --no-print-directory -s unit
	@$(MAKE) --no-print-directory -s gradient
	@$(MAKE) --no-print-directory -s golden
	@$(MAKE) --no-print-directory -s e2e
unit: $(UNIT)           ## the unit tests
	@tests/support/run.sh $(UNIT)
gradient:               ## finite differences in double against every backward pass
	@$(MAKE) --no-print-directory -s VARIANT=f64 BUILD=build/f64 gradient-run
gradient-run: $(GRADIENT)
	@tests/support/run.sh $(GRADIENT)
golden: all             ## training runs with known numbers: every loss, gradient norm, logit and weight
	@$(BUILD)/golden-run --cases tests/golden/cases --out $(BUILD)/golden --check
e2e: all $(BUILD)/fake-trainer $(BUILD)/faults.so $(BUILD)/simulate ## the real programs: every tests/e2e/*.sh (E2E='run kill': those)
	@BUILD=$(BUILD) tests/support/run_e2e.sh $(E2E)
coverage:               ## what unit, golden and end-to-end tests leave out; fails below 95 % of lines or 85 % of branches
	@$(MAKE) --no-print-directory -s VARIANT=coverage coverage-run
COVERED := $(PROGRAMS) $(UNIT) $(BUILD)/fake-trainer $(BUILD)/simulate
coverage-run: $(COVERED) $(BUILD)/faults.so
	@rm -rf $(BUILD)/counters && mkdir -p $(BUILD)/counters && find $(BUILD) -name '*.gcda' -delete
	@tests/support/run.sh $(UNIT)
	@$(BUILD)/golden-run --cases tests/golden/cases --out $(BUILD)/golden --check
	@BUILD=$(BUILD) tests/support/run_e2e.sh
	@tests/support/coverage/report.py $(BUILD) $(COVERED)
check-interop: all      ## our store and exports in the tools people have; more models against transformers, our adapters in PEFT
	@test -x build/interop/bin/python || python3 -m venv build/interop
	@build/interop/bin/pip install -q --disable-pip-version-check -r tests/interop/requirements.txt
	@BUILD=$(BUILD) nice build/interop/bin/python tests/interop/check.py
	@BUILD=$(BUILD) PYTHON=build/interop/bin/python nice tests/interop/families.sh
	@BUILD=$(BUILD) nice build/interop/bin/python tests/interop/gguf_models.py $(wildcard models/smollm2)
	@BUILD=$(BUILD) nice build/interop/bin/python tests/interop/merged_gguf.py
	@BUILD=$(BUILD) nice build/interop/bin/python tests/interop/generation.py
	@BUILD=$(BUILD) nice build/interop/bin/python tests/interop/chat_templates.py
	@BUILD=$(BUILD) nice build/interop/bin/python tests/interop/translation.py
	@BUILD=$(BUILD) nice build/interop/bin/python tests/interop/peft_adapters.py
	@BUILD=$(BUILD) nice build/interop/bin/python tests/interop/exported_adapters.py
	@BUILD=$(BUILD) nice build/interop/bin/python tests/interop/language_adapters.py
	@BUILD=$(BUILD) nice build/interop/bin/python tests/interop/mixture.py
	@BUILD=$(BUILD) nice build/interop/bin/python tests/interop/measures.py
	@BUILD=$(BUILD) nice build/interop/bin/python bench/tokenizer/kinds.py --texts 10000
	@BUILD=$(BUILD) nice build/interop/bin/python tests/interop/checks.py
check-page: all         ## the page in headless Chromium (apt: chromium, npm; playwright-core and axe-core go under build/)
	@tools/deps.sh --page
	@npm --prefix build/page-tests install --silent --no-audit --no-fund playwright-core@1.65.1 axe-core@4.14.1
	@BUILD=$(BUILD) nice node tests/page/check.mjs
	@BUILD=$(BUILD) nice node tests/page/large.mjs
page-images:            ## the pictures of docs/page.md, of the page that make demo leaves in runs/
	@node tests/page/images.mjs runs/demo.html
fuzz:                   ## the parsers under libFuzzer and the sanitizers, RUNS executions each (100,000; apt: clang)
	@tools/deps.sh --fuzz
	@$(MAKE) --no-print-directory -s VARIANT=fuzz CC="$(FUZZ_CC)" fuzz-run
fuzz-run: $(FUZZ)
	@nice tests/fuzz/run.sh $(FUZZ)
check-slurm: all $(BUILD)/fake-trainer $(BUILD)/bench-worker ## a real Slurm of four nodes and ssh to network namespaces, all on this machine (root)
	@tools/deps.sh --slurm
	@BUILD=$(BUILD) nice tests/cluster/netns.sh
	@BUILD=$(BUILD) nice tests/cluster/slurm.sh
# Scripts in which threads of a program meet: the store's thread, the trainers' lanes, the page's server.
TSAN_E2E := worker run kill adaptive living machine serve trainer_threads trainer_prefix trainer_packed
check-tsan:             ## the programs end to end under the thread sanitizer (TSAN_E2E= chooses scripts)
	@$(MAKE) --no-print-directory -s VARIANT=tsan e2e E2E="$(TSAN_E2E)"
check-valgrind: all     ## the programs end to end under valgrind's memcheck, without AVX-512 (apt: valgrind)
	@tools/deps.sh --valgrind
	@BUILD=$(BUILD) nice tests/support/valgrind.sh
torture: all $(BUILD)/fake-trainer $(BUILD)/faults.so $(BUILD)/simulate $(BUILD)/bench-worker ## what takes long, in parts (PARTS='kills cuts'; tests/torture.sh lists them): a thousand kills, a hundred power cuts, ten million executions of each fuzz target …
	@BUILD=$(BUILD) tests/torture.sh
lint:                   ## layers, banned calls, formatting, cppcheck, shellcheck
	@tools/deps.sh --lint
	@tests/support/lint.sh
format:                 ## clang-format over all sources
	clang-format -i $$(git ls-files '*.c' '*.h')

.PHONY: bench-accuracy
bench-accuracy: all     ## the same runs in PyTorch + PEFT and here, compared (about 90 minutes; docs/accuracy.md)
	@BUILD=$(BUILD) bench/accuracy/run.sh

.PHONY: bench-trainer bench-sweep bench-all bench-growth bench-compare
bench-trainer: all      ## tokens a second, memory and start-up beside PyTorch + PEFT (CASES='lora-20 start'; docs/performance.md)
	@BUILD=$(BUILD) bench/trainer/run.sh trainer --cases '$(CASES)'
bench-sweep: all        ## eight short trials, and a shared frozen prefix, beside PyTorch + PEFT
	@BUILD=$(BUILD) bench/trainer/run.sh sweep --cases '$(CASES)'
bench-all: all          ## both into one file, build/bench/all.json (about 25 minutes on an idle machine; CASES= chooses)
	@BUILD=$(BUILD) bench/trainer/run.sh all --cases '$(CASES)'
bench-growth: all       ## tokens a second and memory against length, batch, rank, layers and slots; draws docs/images/growth.svg
	@BUILD=$(BUILD) bench/trainer/run.sh growth.py
bench-compare:          ## what changed between two results: make bench-compare A=old.json B=new.json
	@bench/compare.py $(A) $(B)
.PHONY: bench-prefix
bench-prefix: all       ## a sweep of upper layers with the shared frozen prefix and without
	@BUILD=$(BUILD) bench/prefix/bench.py

.PHONY: bench-coordinator
bench-coordinator: all $(BENCH_COORDINATOR) $(BUILD)/fake-trainer ## points and trials a second, memory, restart, start of the coordinator (CASES=points …; docs/scale.md)
	@BUILD=$(BUILD) bench/coordinator/bench.py $(CASES)

.PHONY: help clean
help:                   ## prints this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 16
clean:                  ## removes build/
	rm -rf build
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
