/* Completion of commands, options, and names of sweeps and trials for bash, zsh and fish, from the table of
 * subcommands. For names the shells ask `nightsweep names`, of the store that the line names. */
#include "orchestrator/command.h"

#include <string.h>

/* What stands where a command's arguments go. */
enum completed { COMPLETE_NOTHING, COMPLETE_FILES, COMPLETE_SWEEPS, COMPLETE_TRIALS, COMPLETE_BOTH, COMPLETE_KINDS };

/* Out of the usage line: "SWEEP...", "TRIAL", "SWEEP|SWEEP/TRIAL"; what has an ending (SWEEP.json) is a file. */
static enum completed what_completes(const char *arguments)
{
    if (!*arguments || text_equal(arguments, "[BEGINNING]"))
        return COMPLETE_NOTHING;
    if (strstr(arguments, ".json") || strstr(arguments, ".db"))
        return COMPLETE_FILES;
    if (strstr(arguments, "SWEEP/TRIAL"))
        return COMPLETE_BOTH;
    if (text_equal(arguments, "TRIAL"))
        return COMPLETE_TRIALS;
    return strstr(arguments, "SWEEP") ? COMPLETE_SWEEPS : COMPLETE_FILES;
}

/* Bash ---------------------------------------------------------------------------------------------------------------
 */

static void add_option_names(struct text *out, const struct command_option *options)
{
    for (; options && options->name; options++)
        text_printf(out, "--%s%s ", options->name, options->value ? "=" : "");
}

static void add_bash(struct text *out)
{
    static const char *const what[COMPLETE_KINDS] = {"none", "files", "sweeps", "trials", "both"};
    text_add(out, "# bash completion for nightsweep, made by `nightsweep --completion`.\n"
                  "_nightsweep_names() { # word, options of `nightsweep names`\n"
                  "    local i store=() word=$1\n"
                  "    shift\n"
                  "    for ((i = 2; i < COMP_CWORD - 1; i++)); do\n"
                  "        [ \"${COMP_WORDS[i]}\" = --store ] || continue\n"
                  "        store=(--store \"${COMP_WORDS[i + 1]}\")\n"
                  "        [ \"${COMP_WORDS[i + 1]}\" = = ] && store=(--store \"${COMP_WORDS[i + 2]}\")\n"
                  "    done\n"
                  "    \"${COMP_WORDS[0]}\" names \"${store[@]/#\\~/$HOME}\" \"$@\" -- \"$word\" 2>/dev/null\n"
                  "}\n"
                  "_nightsweep() {\n"
                  "    local words what=files word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}\n"
                  "    local last=${COMP_WORDS[COMP_CWORD - 1]}\n"
                  "    COMPREPLY=()\n"
                  "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
                  "        mapfile -t COMPREPLY < <(compgen -W '--help --version help ");
    for (const struct command *const *command = commands; *command; command++)
        text_printf(out, "%s ", (*command)->name);
    text_add(out, "' -- \"$word\")\n        return\n    fi\n    case $command in\n");
    for (const struct command *const *command = commands; *command; command++) {
        text_printf(out, "    %s) words='", (*command)->name);
        add_option_names(out, (*command)->options);
        add_option_names(out, command_common_options);
        text_printf(out, "' what=%s ;;\n", what[what_completes((*command)->arguments)]);
    }
    text_add(
        out,
        "    esac\n"
        "    if [ \"$word\" = = ]; then word=; elif [ \"$last\" = = ]; then last=${COMP_WORDS[COMP_CWORD - 2]}; fi\n"
        "    case $last in\n"
        "    --sweep) what=sweeps ;;\n"
        "    --store) what=stores ;;\n"
        "    --*) [[ \" $words \" == *\" $last= \"* ]] && what=files ;;\n"
        "    esac\n"
        "    if [[ $word == -* ]]; then\n"
        "        mapfile -t COMPREPLY < <(compgen -W \"${words//=/}\" -- \"$word\")\n"
        "        return\n"
        "    fi\n"
        "    case $what in\n"
        "    files) mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;\n"
        "    stores) mapfile -t COMPREPLY < <(compgen -d -- \"$word\"; compgen -f -X '!*.db' -- \"$word\") ;;\n"
        "    sweeps) mapfile -t COMPREPLY < <(_nightsweep_names \"$word\") ;;\n"
        "    trials) mapfile -t COMPREPLY < <(_nightsweep_names \"$word\" --trials) ;;\n"
        "    both) mapfile -t COMPREPLY < <(_nightsweep_names \"$word\"; _nightsweep_names \"$word\" --trials) ;;\n"
        "    esac\n"
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
            text_add(out, text_equal(options->value, "SWEEP")  ? ":_nightsweep_sweeps"
                          : text_equal(options->name, "store") ? ":_files -g \"*.db(-.)\""
                                                               : ":_files");
        }
        text_add_char(out, '\'');
    }
}

static void add_zsh(struct text *out)
{
    static const char *const actions[COMPLETE_KINDS] = {" ", "_files", "_nightsweep_sweeps", "_nightsweep_trials",
                                                        "_nightsweep_both"};
    text_add(out, "#compdef nightsweep\n# zsh completion for nightsweep, made by `nightsweep --completion zsh`.\n"
                  "_nightsweep_names() { # options of `nightsweep names`\n"
                  "    local i\n    local -a names store\n"
                  "    for ((i = 2; i < CURRENT; i++)); do\n"
                  "        case $words[i] in\n"
                  "        --store) store=(--store ${(Q)~words[i + 1]}) ;;\n"
                  "        --store=*) store=(--store ${(Q)~words[i]#--store=}) ;;\n"
                  "        esac\n    done\n"
                  "    names=(${(f)\"$($program names $store $@ -- $PREFIX 2>/dev/null)\"})\n"
                  "    compadd -a names\n}\n"
                  "_nightsweep_sweeps() { _nightsweep_names }\n"
                  "_nightsweep_trials() { _nightsweep_names --trials }\n"
                  "_nightsweep_both() { _nightsweep_names; _nightsweep_names --trials }\n"
                  "_nightsweep() {\n    local -a commands\n    commands=(\n");
    for (const struct command *const *command = commands; *command; command++) {
        text_printf(out, "        '%s:", (*command)->name);
        add_quoted(out, (*command)->summary, ZSH_QUOTE, "\\");
        text_add(out, "'\n");
    }
    text_add(out, "    )\n    if (( CURRENT == 2 )); then\n        _describe -t commands command commands\n"
                  "        return\n    fi\n    local command=$words[2] program=${(Q)~words[1]}\n    shift words\n    "
                  "(( CURRENT-- ))\n"
                  "    case $command in\n");
    for (const struct command *const *command = commands; *command; command++) {
        text_printf(out, "        %s)\n            _arguments", (*command)->name);
        add_zsh_options(out, (*command)->options);
        add_zsh_options(out, command_common_options);
        text_printf(out, " \\\n            '*:argument:%s' ;;\n", actions[what_completes((*command)->arguments)]);
    }
    text_add(out, "    esac\n}\n_nightsweep \"$@\"\n");
}

/* Fish ---------------------------------------------------------------------------------------------------------------
 */

#define FISH_QUOTE "\\'"

static void add_fish_options(struct text *out, const struct command *command, const struct command_option *options)
{
    for (; options && options->name; options++) {
        const char *values = !options->value                       ? ""
                             : text_equal(options->value, "SWEEP") ? " -x -a '(__nightsweep_names)'"
                             : text_equal(options->name, "store")  ? " -x -a '(__fish_complete_suffix .db)'"
                                                                   : " -r";
        text_printf(out, "complete -c nightsweep -n '__fish_seen_subcommand_from %s' -l %s%s -d '", command->name,
                    options->name, values);
        add_quoted(out, options->help, FISH_QUOTE, "\\");
        text_add(out, "'\n");
    }
}

static void add_fish(struct text *out)
{
    static const char *const lists[COMPLETE_KINDS] = {"", NULL, "(__nightsweep_names)", "(__nightsweep_names --trials)",
                                                      "(__nightsweep_names; __nightsweep_names --trials)"};
    text_add(out, "# fish completion for nightsweep, made by `nightsweep --completion fish`.\n"
                  "function __nightsweep_names # options of `nightsweep names`\n"
                  "    set -l words (commandline -opc)\n    set -l store\n"
                  "    for i in (seq (count $words))\n"
                  "        switch $words[$i]\n"
                  "            case --store\n                set store --store $words[(math $i + 1)]\n"
                  "            case '--store=*'\n                set store $words[$i]\n"
                  "        end\n    end\n"
                  "    $words[1] names $store $argv -- (commandline -ct) 2>/dev/null\nend\n");
    for (const struct command *const *command = commands; *command; command++) {
        text_printf(out, "complete -c nightsweep -f -n __fish_use_subcommand -a %s -d '", (*command)->name);
        add_quoted(out, (*command)->summary, FISH_QUOTE, "\\");
        text_add(out, "'\n");
        const char *list = lists[what_completes((*command)->arguments)];
        if (list)
            text_printf(out, "complete -c nightsweep -f -n '__fish_seen_subcommand_from %s' -a '%s'\n",
                        (*command)->name, list);
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
