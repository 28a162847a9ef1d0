# Two commands matter: "make demo" and "make test". Each does its whole set-up with Python >= 3.10,
# make and pip, and is quick the second time. "make help" lists the others.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

export UV_PYTHON_DOWNLOADS := never

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12
