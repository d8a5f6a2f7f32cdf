# SPDX-License-Identifier: GPL-2.0-or-later
# The few commands a stranger needs; what they do is in meson.build and in tests/.

BUILD ?= build

.PHONY: all setup demo check check-long bench install clean

all: $(BUILD)/build.ninja
	meson compile -C $(BUILD)

setup:
	tests/setup

$(BUILD)/build.ninja:
	$(MAKE) setup
	meson setup $(BUILD) -Dtest_programs=true $(if $(CI),-Dwerror=true)

demo: all
	tests/demo

check: all
	tests/check

check-long: all
	tests/scenarios/run --long

bench: all
	tests/bench/run

install: all
	meson install -C $(BUILD)

clean:
	rm -rf $(BUILD)
