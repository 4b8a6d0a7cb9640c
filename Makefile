# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
#
# Everything that is done with a checkout, from any path and as often as you like. `make` alone lists it.

SHELL := /bin/bash
.DEFAULT_GOAL := help

export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Ansible refuses to work in a locale that is not UTF-8, which is what a bare machine has.
export LC_ALL := C.UTF-8

JOBS ?= $(shell nproc)
# The version of the interpreter in .venv; without one, ansible-test runs everything for each Python it finds.
PYTHON_VERSION = $(shell .venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# ansible-test and others work only in a real .../ansible_collections/NAMESPACE/NAME, so they get a copy of what git
# does not ignore. It is a repository of its own, because to this one it is an ignored directory.
COPY := .cache/copy/ansible_collections/virtops/balance
IN_COPY = cd $(COPY) && ANSIBLE_COLLECTIONS_PATH="$(CURDIR)/.cache/copy"
STEP := "$(CURDIR)/.ci/step"
TOGETHER := $(MAKE) --no-print-directory --keep-going --output-sync=target --jobs=$(JOBS)
LAB := -i inventories/lab
MACHINES := -i inventories/machines
XEN := -i inventories/xen
# The lab needs root: ask for the password of sudo only where there is one.
BECOME = $(shell [ "$$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null || echo --ask-become-pass)

# The long ones first: they overlap with all the others.
LINT := lint-sanity lint-docs lint-ansible lint-mypy lint-imports lint-ruff lint-python39 lint-yaml lint-shell lint-changelog

# How many build tests run at the same time.
WORKERS ?= $(JOBS)
# How many steps of `make test` run at the same time: the lab often waits, and the others give way to it.
AT_ONCE := $(shell echo $$(( $(JOBS) + 1 )))
# What `make test` does beside the lab, the long ones first.
BESIDE := test-build test-unit $(LINT)

.PHONY: help setup setup-tests copy lint $(LINT) test-unit test-units test-build test-lab test-faults test-machines test-xen test test-long mutation lab-up lab-down machines-up machines-down xen-up xen-down demo demo-overload experiment docs clean

##@ Start here
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

setup: ## Install what is missing: Debian packages, .venv (the other targets do this by themselves)
	@.ci/setup

setup-tests:
	@.ci/setup --tests

demo: setup ## Bring up the lab, overload one host, rebalance it
	@ansible-playbook $(LAB) $(BECOME) playbooks/lab_up.yml
	@ansible-playbook $(LAB) playbooks/rebalance.yml
	@printf '\n%s\n' \
		'The lab is still up. All domains:  .venv/bin/ansible $(LAB) hypervisors -a "virsh list"' \
		'Take it down:                      make lab-down'

##@ The lab: three libvirt hosts on this machine
lab-up: setup ## Bring it up (needs root or sudo)
	@ansible-playbook $(LAB) $(BECOME) playbooks/lab_up.yml

lab-down: setup ## Take it down and leave nothing behind
	@ansible-playbook $(LAB) $(BECOME) playbooks/lab_down.yml

machines-up: setup-tests ## Two hosts that are system VMs: Debian 13 with systemd, cgroup v2 and KVM (minutes; root or sudo)
	@ansible-playbook $(MACHINES) $(BECOME) playbooks/lab_up.yml

machines-down: setup ## Take them down; their disks stay in a cache
	@ansible-playbook $(MACHINES) $(BECOME) playbooks/lab_down.yml

xen-up: setup-tests ## Two hosts that are system VMs with Xen (minutes; root or sudo)
	@ansible-playbook $(XEN) $(BECOME) playbooks/lab_up.yml

xen-down: setup ## Take them down; their disks stay in a cache
	@ansible-playbook $(XEN) $(BECOME) playbooks/lab_down.yml

demo-overload: setup ## A host of the lab gets too busy while rebalance runs on a schedule; a page shows what happens
	@ansible-playbook $(LAB) $(BECOME) playbooks/demo_overload.yml

experiment: setup ## Allocation by five strategies with up to nine domains in the lab, and a page about it (a quarter of an hour)
	@ansible-playbook $(LAB) $(BECOME) playbooks/experiment.yml -e '{"experiment_settings": {"ground": "lab", "step": 3}}'

##@ Checks
test: setup-tests ## All linters, unit tests, build tests and the lab, side by side; a failure does not keep the rest from running
	@rm -rf .cache/results $(COPY)/tests/output/junit
	@echo 'The tests on the lab take longest. What they say now: tail -f .cache/results/test-lab.log'
	@failed=0; \
	$(TOGETHER) --jobs=$(AT_ONCE) WORKERS=$$(( $(JOBS) > 2 ? $(JOBS) - 1 : 1 )) test-lab $(BESIDE) || failed=1; \
	python .ci/summary.py || failed=1; \
	exit $$failed

test-long: setup-tests ## The same, and what takes too long for every change (CONTRIBUTING.md names it)
	@LAB_LONG=1 $(MAKE) --no-print-directory test BESIDE='test-units $(BESIDE)'

lint: copy ## All linters, side by side
	@$(TOGETHER) $(LINT)

test-unit: setup-tests ## Unit tests
	@$(STEP) $@ python -m pytest --numprocesses=$(WORKERS) --durations=25 --junitxml=.cache/results/$@.xml tests/unit

test-units: copy ## The same by ansible-test, in an environment that it makes (minutes; part of test-long)
	@$(STEP) $@ $(SHELL) -c '$(IN_COPY) ansible-test units --venv --python $(PYTHON_VERSION)'

test-build: setup-tests ## Build the archive, install it elsewhere, use it from there
	@$(STEP) $@ python -m pytest --numprocesses=$(WORKERS) --dist=loadfile --durations=25 --junitxml=.cache/results/$@.xml tests/build

test-lab: setup-tests ## End to end on the lab (with LAB_LONG=1 also what takes long)
	@$(STEP) --live $@ python -m pytest --durations=25 --junitxml=.cache/results/$@.xml tests/lab

test-faults: setup-tests ## Faults from outside in the middle of a move, on the lab (a quarter of an hour)
	@$(STEP) --live $@ env LAB_LONG=1 python -m pytest -m fault --durations=25 --junitxml=.cache/results/$@.xml tests/lab

test-machines: setup-tests ## On system VMs with systemd, cgroup v2 and KVM (45 to 90 minutes, 6 GiB of memory; the machines are taken down)
	@$(STEP) --live $@ env LAB_KIND=machines python -m pytest --durations=25 --junitxml=.cache/results/$@.xml \
		tests/lab/test_machines_*.py tests/lab/test_domain_cputune.py tests/lab/test_host_memory_balance.py

test-xen: setup-tests ## On system VMs with Xen (30 to 50 minutes, 7 GiB of memory; the machines are taken down)
	@$(STEP) --live $@ env LAB_KIND=xen python -m pytest --durations=25 --junitxml=.cache/results/$@.xml tests/lab/test_xen.py

mutation: setup ## Change the code that acts in small ways and list what no unit test notices (hours; MODULES=path... for some)
	@PYTHONPATH=.cache/collections python -m ansible_collections.virtops.balance.tests.mutation $(MODULES)

copy: setup
	@mkdir -p $(COPY)
	@rsync --archive --no-owner --no-group --delete --exclude=/.git --filter=':- .gitignore' ./ $(COPY)/
	@git init --quiet $(COPY)

##@ Documentation
docs: setup ## Build the site: .cache/docs/html/index.html
	@$(STEP) --live $@ .ci/docs

##@ One linter alone
lint-ruff: setup ## Format and rules of Python code
	@$(STEP) $@ $(SHELL) -c 'ruff format --check . && ruff check .'

lint-python39: setup ## Code for managed hosts runs on Python 3.9
	@$(STEP) $@ vermin --no-tips --violations --target=3.9- plugins/modules plugins/module_utils roles/*/files/*.py

lint-mypy: setup ## Types
	@$(STEP) $@ mypy

lint-imports: setup ## Which way imports go, by the layers in pyproject.toml
	@$(STEP) $@ env PYTHONPATH="$(CURDIR)/.cache/collections" lint-imports --cache-dir .cache/imports

lint-yaml: setup ## YAML
	@$(STEP) $@ yamllint --strict .

lint-shell: setup ## Shell scripts
	@$(STEP) $@ $(SHELL) -c 'git -c safe.directory="*" ls-files -z --cached --others --exclude-standard | xargs -0 grep -lZE "^#!.*[/ ](ba|da)?sh( |$$)" | xargs -0 shellcheck'

lint-ansible: copy ## Playbooks and roles, ansible-lint at profile production
	@$(STEP) $@ $(SHELL) -c '$(IN_COPY) ansible-lint --nocolor'

lint-sanity: copy ## ansible-test sanity
	@$(STEP) $@ $(SHELL) -c '$(IN_COPY) ansible-test sanity --local --python $(PYTHON_VERSION)'

lint-docs: copy ## Documentation of plugins, roles and the docsite
	@$(STEP) $@ $(SHELL) -c '$(IN_COPY) antsibull-docs --config-file docs/site/antsibull-docs.cfg lint-collection-docs --plugin-docs --validate-collection-refs all --check-extra-docs-refs .'

lint-changelog: setup ## Changelog fragments
	@$(STEP) $@ antsibull-changelog lint

##@ Tidy up
clean: ## Remove what was made here (not the lab: make lab-down)
	@rm -rf .venv .cache .ansible tests/output
