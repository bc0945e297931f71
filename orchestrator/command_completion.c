/* Completion of commands and options for bash, zsh and fish, from the table of subcommands. */
#include "orchestrator/command.h"

/* Bash ---------------------------------------------------------------------------------------------------------------
 */

static void add_option_names(struct text *out, const struct command_option *options)
{
    for (; options && options->name; options++)
        text_printf(out, "--%s ", options->name);
}

static void add_bash(struct text *out)
{
    text_add(out, "# bash completion for nightsweep, made by `nightsweep --completion`.\n"
                  "_nightsweep() {\n"
                  "    local words word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}\n"
                  "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
                  "        mapfile -t COMPREPLY < <(compgen -W '--help --version help ");
    for (const struct command *const *command = commands; *command; command++)
        text_printf(out, "%s ", (*command)->name);
    text_add(out, "' -- \"$word\")\n        return\n    fi\n    case $command in\n");
    for (const struct command *const *command = commands; *command; command++) {
        text_printf(out, "    %s) words='", (*command)->name);
        add_option_names(out, (*command)->options);
        add_option_names(out, command_common_options);
        text_add(out, "' ;;\n");
    }
    text_add(out, "    esac\n"
                  "    if [[ $word == -* ]]; then\n"
                  "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
                  "    else\n"
                  "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
                  "    fi\n"
                  "}\n"
                  "complete -o filenames -F _nightsweep nightsweep\n");
}

/* Text inside single quotes of a shell; `special` characters get a backslash. */
static void add_quoted(struct text *out, const char *s, const char *quote, const char *special)
{
    for (; *s; s++) {
        if (*s == '\'') {
            text_add(out, quote);
            continue;
        }
        for (const char *c = special; *c; c++)
            if (*c == *s)
                text_add_char(out, '\\');
        text_add_char(out, *s);
    }
}

/* Zsh ----------------------------------------------------------------------------------------------------------------
 */

#define ZSH_QUOTE "'\\''"

static void add_zsh_options(struct text *out, const struct command_option *options)
{
    for (; options && options->name; options++) {
        text_printf(out, " \\\n            '--%s%s[", options->name, options->value ? "=" : "");
        add_quoted(out, options->help, ZSH_QUOTE, "[]\\");
        text_add_char(out, ']');
        if (options->value) {
            text_add_char(out, ':');
            add_quoted(out, options->value, ZSH_QUOTE, ":\\");
            text_add(out, ":_files");
        }
        text_add_char(out, '\'');
    }
}

static void add_zsh(struct text *out)
{
    text_add(out, "#compdef nightsweep\n# zsh completion for nightsweep, made by `nightsweep --completion zsh`.\n"
                  "_nightsweep() {\n    local -a commands\n    commands=(\n");
    for (const struct command *const *command = commands; *command; command++) {
        text_printf(out, "        '%s:", (*command)->name);
        add_quoted(out, (*command)->summary, ZSH_QUOTE, "\\");
        text_add(out, "'\n");
    }
    text_add(out, "    )\n    if (( CURRENT == 2 )); then\n        _describe -t commands command commands\n"
                  "        return\n    fi\n    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n"
                  "    case $command in\n");
    for (const struct command *const *command = commands; *command; command++) {
        text_printf(out, "        %s)\n            _arguments", (*command)->name);
        add_zsh_options(out, (*command)->options);
        add_zsh_options(out, command_common_options);
        text_add(out, " \\\n            '*:argument:_files' ;;\n");
    }
    text_add(out, "    esac\n}\n_nightsweep \"$@\"\n");
}

/* Fish ---------------------------------------------------------------------------------------------------------------
 */

#define FISH_QUOTE "\\'"

static void add_fish_options(struct text *out, const struct command *command, const struct command_option *options)
{
    for (; options && options->name; options++) {
        text_printf(out, "complete -c nightsweep -n '__fish_seen_subcommand_from %s' -l %s%s -d '", command->name,
                    options->name, options->value ? " -r" : "");
        add_quoted(out, options->help, FISH_QUOTE, "\\");
        text_add(out, "'\n");
    }
}

static void add_fish(struct text *out)
{
    text_add(out, "# fish completion for nightsweep, made by `nightsweep --completion fish`.\n");
    for (const struct command *const *command = commands; *command; command++) {
        text_printf(out, "complete -c nightsweep -f -n __fish_use_subcommand -a %s -d '", (*command)->name);
        add_quoted(out, (*command)->summary, FISH_QUOTE, "\\");
        text_add(out, "'\n");
        add_fish_options(out, *command, (*command)->options);
        add_fish_options(out, *command, command_common_options);
    }
}

int command_add_completion(struct text *out, const char *shell, struct err *err)
{
    static const char *const shells[] = {"bash", "zsh", "fish", NULL};
    static void (*const writers[])(struct text *) = {add_bash, add_zsh, add_fish};
    for (size_t i = 0; shells[i]; i++)
        if (text_equal(shells[i], shell)) {
            writers[i](out);
            return 0;
        }
    return err_set(err, ERR_USAGE, "--completion: '%.40s' is none of bash, zsh and fish", shell);
}
