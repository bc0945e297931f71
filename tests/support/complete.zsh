# Whether zsh completes a line to a word, by the completion in a folder: complete.zsh FOLDER 'nightsweep sta' status
# Prints what zsh showed; waits up to 20 s for it.
zmodload zsh/zpty
zpty -b z zsh -f -i
zpty -w z "PS1='> '; fpath=($1 \$fpath); autoload -U compinit; compinit -u -d $1/zcompdump; print READY\$((1+1))"
shown=
seen() { # word
    local line
    for ((i = 0; i < 200; i++)); do
        while zpty -r -t z line; do shown+=$line; done
        [[ $shown == *$1* ]] && return 0
        sleep 0.1
    done
    return 1
}
seen READY2 || print "not ready: $shown"
shown=
zpty -n -w z "$2"$'\t\t'
seen "$3" || print "not seen"
print -r -- $shown
zpty -d z
