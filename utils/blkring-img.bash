# SPDX-License-Identifier: BSD-3-Clause
#
# bash completion for blkring-img

_blkring_img ()
{
  local subcommands="create info check map produce consume consumer dump
    suspend resume state erase"
  local common="--quiet --verbose --trace --sector-size= --direct= --queue=
    --client= --largest-item= --timeout= --reconnect= --help"
  local cur=${COMP_WORDS[COMP_CWORD]} prev="" words="" own=""

  # "--option=value" comes as three words.
  if [ "$cur" = = ]; then
    prev=${COMP_WORDS[COMP_CWORD-1]}
    cur=""
  elif [ "${COMP_WORDS[COMP_CWORD-1]}" = = ]; then
    prev=${COMP_WORDS[COMP_CWORD-2]}
  fi

  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="$subcommands --help --version"
  elif [ "$COMP_CWORD" -eq 2 ] && [ "${COMP_WORDS[1]}" = consumer ]; then
    words="list enable disable"
  elif [ -n "$prev" ]; then
    case ${COMP_WORDS[1]}$prev in
      produce--framing) words="line null length file" ;;
      consume--framing) words="line null length none" ;;
      consume--output) words="items json" ;;
      dump--output) words="human json raw" ;;
      *--output) words="human json" ;;
      *--on-failure) words="stop skip dead-letter=" ;;
      *--durability) words="full none" ;;
      *--sector-size) words="512 4096" ;;
      *--direct) words="on off" ;;
      *--format) words="1 2" ;;
      *--repair) words="leaks all" ;;
    esac
  elif [[ $cur == -* ]]; then
    case ${COMP_WORDS[1]} in
      create)
        own="--force --erase --sparse --format= --block-size= --consumers=
          --largest-frame= --label= -p"
        ;;
      check) own="--output= --repair=" ;;
      info | map) own="--output=" ;;
      produce) own="--batch= --framing= --wait --no-wait --durability= -p
        --takeover" ;;
      consume) own="--count= --until-empty --follow --framing= --output=
        --exec= --exec-batch= --retry-interval= --flush-interval=
        --max-attempts= --on-failure= --drain
        --consumer= --takeover --salvage" ;;
      dump) own="--from= --count= --output= --consumer= --salvage" ;;
      suspend | resume) own="--wait --wait= --force --consumer=" ;;
      state) own="--consumer=" ;;
      erase) own="--force --pattern= -p" ;;
    esac
    words="$own $common"
  fi

  if [ -n "$words" ]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2> /dev/null
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    compopt -o filenames 2> /dev/null
  fi
}

complete -F _blkring_img blkring-img
