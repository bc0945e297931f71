#!/usr/bin/env bash
# Language models through the real trainer: next tokens, answers to prompts, second sequences; every method's kind of
# resume is trainer_resume.sh's.
exec python3 "$(dirname "$0")/../support/trainer/language.py"
