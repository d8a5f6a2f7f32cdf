// SPDX-License-Identifier: GPL-2.0-or-later
/* The command line: everything that can be wrong with it is said before popcornd is spoken to. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include <popcorn-msg.h>

#include "agent.h"
#include "config-build.h"
#include "error.h"
#include "parse.h"
#include "popcornctl.h"
#include "util.h"

#define MANY SIZE_MAX

/* What is taken when no option says otherwise. */
#define PING_COUNT 10
#define PING_SIZE 64
#define WATCH_USEC 2000000

#define AUTHORIZE (1U << 0) /* popcornd lets not everybody do it, and may ask for a password */
#define HERE_ONLY (1U << 1) /* what it needs does not go through ssh */
#define COMMAND (1U << 2)   /* behind the first name stands a command with options of its own */

struct verb {
	const char *name;
	const char *names; /* as --help shows it */
	size_t min, max;
	int (*run)(struct popcorn *popcorn, const struct arguments *arguments);
	unsigned flags;
	const char *help;
	/* Whether what is asked for needs no popcornd; then run() gets no connection. NULL: never */
	bool (*is_local)(const struct arguments *arguments);
};

/* The first one is what popcornctl does when not told what. */
static const struct verb verbs[] = {
	{ "list", "", 0, 0, verb_list, 0, "List all kernels", NULL },
	{ "status", "[NAME...]", 0, MANY, verb_status, 0,
	  "Show all about kernels, with history and the end of their consoles", NULL },
	{ "show", "[NAME]", 0, 1, verb_show, 0, "Show the properties of a kernel, or of popcornd",
	  NULL },
	{ "boot", "NAME", 1, 1, verb_boot, AUTHORIZE, "Boot a kernel", NULL },
	{ "stop", "NAME...", 1, MANY, verb_stop, AUTHORIZE,
	  "Have kernels shut down, and take all back", NULL },
	{ "kill", "NAME...", 1, MANY, verb_kill, AUTHORIZE, "Stop the CPUs of kernels at once",
	  NULL },
	{ "release", "NAME...", 1, MANY, verb_release, AUTHORIZE,
	  "Forget kernels that have ended, and take back what they hold", NULL },
	{ "cancel", "JOB", 1, 1, verb_cancel, AUTHORIZE, "Make a job give up and undo what it did",
	  NULL },
	{ "console", "NAME", 1, 1, verb_console, AUTHORIZE, "Attach to the console of a kernel",
	  NULL },
	{ "log", "NAME", 1, 1, verb_log, AUTHORIZE, "Show what a kernel wrote to its console",
	  NULL },
	{ "events", "", 0, 0, verb_events, 0, "Show what happens to kernels, as it happens", NULL },
	{ "ping", "[NAME]", 0, 1, verb_ping, HERE_ONLY,
	  "Measure how long messages to kernels and back take", NULL },
	{ "stats", "[NAME]", 0, 1, verb_stats, HERE_ONLY,
	  "Show what messages the primary exchanged with kernels", NULL },
	{ "exec", "NAME COMMAND...", 2, MANY, verb_exec, HERE_ONLY | COMMAND,
	  "Run a command in a kernel", NULL },
	{ "shell", "NAME [COMMAND...]", 1, MANY, verb_shell, HERE_ONLY | COMMAND,
	  "Log in to a kernel, or have its shell run a command", NULL },
	{ "top", "", 0, 0, verb_top, HERE_ONLY, "Show load, memory and processes of all kernels",
	  NULL },
	{ "topology", "", 0, 0, verb_topology, 0,
	  "Show where CPUs, memory and devices lie, and which kernel has them", topology_is_local },
	{ "plan", "POLICY", 1, 1, verb_plan, 0, "Show what a policy makes of the machine",
	  plan_is_local },
	{ "apply", "POLICY", 1, 1, verb_apply, AUTHORIZE,
	  "Boot the kernels of a policy, or bring those that run in line with it", NULL },
	{ "policy", "[COMMAND...]", 0, MANY, verb_policy, 0,
	  "List, show or check the policies that say how machines are divided", policy_is_local },
};
#define NR_VERBS (sizeof(verbs) / sizeof(verbs[0]))

/* Of verbs that have several, for --help. */
static const struct {
	const char *verb, *name, *names, *help;
} commands[] = {
	{ "policy", "list", "", "List all (when no command is given)" },
	{ "policy", "show", "NAME|FILE", "Print the file" },
	{ "policy", "verify", "[NAME|FILE...]", "Find mistakes in these, or in all" },
};
#define NR_COMMANDS (sizeof(commands) / sizeof(commands[0]))

enum option_id {
	OPTION_HELP = 256, /* above all letters */
	OPTION_VERSION,
	OPTION_HOST,
	OPTION_JSON,
	OPTION_NO_LEGEND,
	OPTION_NO_PAGER,
	OPTION_QUIET,
	OPTION_CPUS,
	OPTION_MEMORY,
	OPTION_MEMORY_NODES,
	OPTION_KERNEL,
	OPTION_INITRD,
	OPTION_SHARE,
	OPTION_NO_VSOCK,
	OPTION_ROOT,
	OPTION_APPEND,
	OPTION_RESTART,
	OPTION_NETWORK,
	OPTION_TIMEOUT,
	OPTION_NO_WAIT,
	OPTION_FOLLOW,
	OPTION_KERNEL_LOG,
	OPTION_LINES,
	OPTION_PROPERTY,
	OPTION_XML,
	OPTION_SYNTHETIC,
	OPTION_DRAW,
	OPTION_EXPLAIN,
	OPTION_DIFF,
	OPTION_BOOT_ARGS,
	OPTION_ATOMIC,
	OPTION_YES,
	OPTION_COUNT,
	OPTION_INTERVAL,
	OPTION_SIZE,
	OPTION_WATCH,
	OPTION_ONCE,
	OPTION_TTY,
};

static const struct option_info {
	enum option_id id;
	const char *name;
	char letter;
	int has_argument;
	const char *argument; /* as --help shows it, with its "=" or " " */
	const char *verbs;    /* each between blanks; NULL: all */
	const char *help;
} options[] = {
	{ OPTION_CPUS, "cpus", 0, required_argument, " N|LIST", " boot ",
	  "How many CPUs, or which: 2, 2-3, 2,5-7, 2-2" },
	{ OPTION_MEMORY, "memory", 0, required_argument, " SIZE", " boot ",
	  "How much memory: 512M, 2G" },
	{ OPTION_MEMORY_NODES, "memory-nodes", 0, required_argument, " N:SIZE,...", " boot ",
	  "How much of which NUMA node: 0:512M,1:512M" },
	{ OPTION_KERNEL, "kernel", 0, required_argument, " IMAGE", " boot ",
	  "The kernel's file (bzImage)" },
	{ OPTION_INITRD, "initrd", 0, required_argument, " FILE", " boot ", "Its initrd" },
	{ OPTION_SHARE, "share", 0, required_argument, " TAG:FOLDER[:ro]", " boot ",
	  "Share a folder of the primary (more than once if need be)" },
	{ OPTION_NO_VSOCK, "no-vsock", 0, no_argument, "", " boot ",
	  "No vsock between it and the primary" },
	{ OPTION_ROOT, "root", 0, required_argument, " ROOT", " boot ",
	  "Its root: primary, initramfs, FOLDER, FOLDER:ro" },
	{ OPTION_APPEND, "append", 0, required_argument, " TEXT", " boot ",
	  "Add to its command line (more than once if need be)" },
	{ OPTION_RESTART, "restart", 0, required_argument, " WHEN", " boot ",
	  "Boot it again when it ends: no, on-failure" },
	{ OPTION_NETWORK, "network", 0, required_argument, " LIST", " boot ",
	  "With whom it may speak: primary,kernels,outside; or none, default" },
	{ OPTION_TIMEOUT, "timeout", 0, required_argument, " TIME", " boot stop ",
	  "How long it may take: 30, 500ms, 2min" },
	{ OPTION_NO_WAIT, "no-wait", 0, no_argument, "", " boot stop kill release cancel apply ",
	  "Start the job and don't wait for its end" },
	{ OPTION_FOLLOW, "follow", 'f', no_argument, "", " log ",
	  "Go on with what is written from now on" },
	{ OPTION_KERNEL_LOG, "kernel", 0, no_argument, "", " log ",
	  "The kernel's own log (dmesg), read out of its memory" },
	{ OPTION_LINES, "lines", 'n', required_argument, " N", " log status ",
	  "Only the last N lines of the console" },
	{ OPTION_PROPERTY, "property", 'p', required_argument, " NAME", " show ",
	  "Only this property (more than one: NAME,NAME)" },

	{ OPTION_COUNT, "count", 'c', required_argument, " N", " ping ",
	  "How many messages to each (10); 0: until interrupted" },
	{ OPTION_INTERVAL, "interval", 'i', required_argument, " TIME", " ping top ",
	  "How long to wait in between: 1, 100ms" },
	{ OPTION_SIZE, "size", 's', required_argument, " N", " ping ",
	  "Bytes of a message, each way (64), up to 3072" },
	{ OPTION_WATCH, "watch", 0, optional_argument, "[=TIME]", " stats ",
	  "Show it again and again, every 2s" },
	{ OPTION_ONCE, "once", 0, no_argument, "", " top ", "Look once, for half a second" },
	{ OPTION_TTY, "tty", 't', no_argument, "", " exec shell ",
	  "Run it on a terminal, whatever standard input is" },

	{ OPTION_XML, "xml", 0, required_argument, " FILE", " topology plan ",
	  "The machine that hwloc described in this file" },
	{ OPTION_SYNTHETIC, "synthetic", 0, required_argument, " DESCRIPTION", " topology plan ",
	  "An invented machine: \"node:2 core:4 pu:2\"" },
	{ OPTION_DRAW, "draw", 0, required_argument, " FILE", " topology plan ",
	  "Draw it with lstopo: FILE.svg, .png, .pdf or .txt" },
	{ OPTION_EXPLAIN, "explain", 0, no_argument, "", " plan ", "Say why it is so" },
	{ OPTION_DIFF, "diff", 0, no_argument, "", " plan ",
	  "Show what apply would start, stop and replace" },
	{ OPTION_BOOT_ARGS, "boot-args", 0, no_argument, "", " plan ",
	  "Print the primary's command line that makes the memory movable" },
	{ OPTION_ATOMIC, "atomic", 0, no_argument, "", " apply ",
	  "All or nothing: if one fails, undo everything" },
	{ OPTION_YES, "yes", 'y', no_argument, "", " apply ",
	  "Don't ask before kernels that run are stopped or replaced" },

	{ OPTION_JSON, "json", 0, optional_argument, "[=pretty|short]", NULL,
	  "Print JSON, for reading or on one line" },
	{ OPTION_HOST, "host", 'H', required_argument, " [USER@]HOST", NULL,
	  "Work on another machine, by ssh" },
	{ OPTION_NO_LEGEND, "no-legend", 0, no_argument, "", NULL,
	  "Don't print headings and totals" },
	{ OPTION_NO_PAGER, "no-pager", 0, no_argument, "", NULL,
	  "Accepted; popcornctl never starts a pager" },
	{ OPTION_QUIET, "quiet", 'q', no_argument, "", NULL,
	  "Only say what was asked for, and errors" },
	{ OPTION_HELP, "help", 'h', no_argument, "", NULL, "Show this, or help for a verb" },
	{ OPTION_VERSION, "version", 0, no_argument, "", NULL, "Show the version" },
};
#define NR_OPTIONS (sizeof(options) / sizeof(options[0]))

static bool option_is_for(const struct option_info *option, const struct verb *verb)
{
	_cleanup_free_ char *word = NULL;

	if (!option->verbs)
		return true;
	if (!verb)
		return false;
	word = xasprintf(" %s ", verb->name);
	return strstr(option->verbs, word) != NULL;
}

static void print_options(const struct verb *verb, bool global)
{
	for (size_t i = 0; i < NR_OPTIONS; i++) {
		const struct option_info *option = &options[i];
		char letter[] = { '-', option->letter, ',', ' ', '\0' };
		_cleanup_free_ char *left = NULL;

		if (!option_is_for(option, verb) || !option->verbs != global)
			continue;
		left = xasprintf("%s--%s%s", option->letter ? letter : "    ", option->name,
				 option->argument);
		printf("  %-30s %s\n", left, option->help);
	}
}

static int help(const struct verb *verb)
{
	if (verb) {
		size_t commands_shown = 0;
		bool own = false;

		for (size_t i = 0; i < NR_OPTIONS; i++)
			own |= options[i].verbs && option_is_for(&options[i], verb);
		printf("popcornctl %s%s%s%s\n\n%s.\n", verb->name, *verb->names ? " " : "",
		       verb->names, own ? " [OPTION...]" : "", verb->help);
		for (size_t i = 0; i < NR_COMMANDS; i++) {
			_cleanup_free_ char *left =
				xasprintf("%s %s", commands[i].name, commands[i].names);

			if (strcmp(commands[i].verb, verb->name) != 0)
				continue;
			printf("%s  %-30s %s\n", commands_shown++ ? "" : "\nCommands:\n", left,
			       commands[i].help);
		}
		if (own) {
			puts("\nOptions:");
			print_options(verb, false);
		}
		puts("\nOptions of every verb:");
		print_options(verb, true);
	} else {
		puts("popcornctl [OPTION...] [VERB] [NAME...]\n\n"
		     "Boot kernels beside the running one, and look after them.\n\nVerbs:");
		for (size_t i = 0; i < NR_VERBS; i++) {
			_cleanup_free_ char *left =
				xasprintf("%s %s", verbs[i].name, verbs[i].names);

			printf("  %-20s %s%s\n", left, verbs[i].help,
			       i == 0 ? " (when no verb is given)" : "");
		}
		puts("\nOptions of every verb; 'popcornctl VERB --help' shows its own:");
		print_options(NULL, true);
	}
	puts("\nSee popcornctl(1).");
	return EXIT_DONE;
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < NR_VERBS; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

struct command_line {
	struct arguments arguments;
	const struct verb *verb;
	bool verb_given, help, version;
	char *append;
};

static int bad_value(const struct option_info *option, const char *value, const char *hint)
{
	/* The names that popcornd would have for it. */
	complain(NULL, "--%s: '%s' %s (%s)", option->name, value, hint,
		 short_error(popcorn_error_name(option->id == OPTION_MEMORY ||
								option->id == OPTION_MEMORY_NODES
							? POPCORN_ERROR_MEMORY_INVALID
							: POPCORN_ERROR_INVALID_ARGUMENT)));
	return -EINVAL;
}

/* Files are named for popcornd: it has another working folder, and maybe another machine. */
static int set_file(struct command_line *line, const struct option_info *option, const char *value,
		    int (*set)(struct popcorn_boot_options *options, const char *path))
{
	_cleanup_free_ char *path = NULL;
	int r;

	if (line->arguments.host && *value != '/')
		return bad_value(option, value,
				 "is a file on the other machine; begin its name with /");
	r = make_absolute(value, &path);
	if (r < 0)
		return bad_value(option, value, "is not the name of a file");
	return set(line->arguments.boot, path);
}

/* "A,B" and repeated options: one list. The parts stay in @value, which lives in argv. */
static int add_properties(struct arguments *arguments, char *value)
{
	char *rest = value, *name;

	while ((name = strsep(&rest, ","))) {
		if (!*name)
			continue;
		arguments->properties = xrealloc(arguments->properties, arguments->n_properties + 1,
						 sizeof(*arguments->properties));
		arguments->properties[arguments->n_properties++] = name;
	}
	return 0;
}

static int add_memory_node(void *userdata, uint32_t node, uint64_t bytes)
{
	return popcorn_boot_options_add_memory_node(userdata, node, bytes);
}

static int add_share(void *userdata, const char *tag, const char *path, bool read_only)
{
	return popcorn_boot_options_add_share(userdata, tag, path, read_only);
}

static int set_option(struct command_line *line, const struct option_info *option, char *value)
{
	struct arguments *arguments = &line->arguments;
	_cleanup_free_ char *text = NULL;
	uint64_t number;
	uint32_t count;
	int r;

	switch (option->id) {
	case OPTION_HELP:
		line->help = true;
		return 0;
	case OPTION_VERSION:
		line->version = true;
		return 0;
	case OPTION_HOST:
		/* A dash would be an option to ssh. */
		if (!*value || *value == '-')
			return bad_value(option, value, "is not the name of a machine");
		arguments->host = value;
		return 0;
	case OPTION_JSON:
		if (!value || strcmp(value, "pretty") == 0)
			arguments->json = JSON_PRETTY;
		else if (strcmp(value, "short") == 0)
			arguments->json = JSON_SHORT;
		else
			return bad_value(option, value, "is not pretty or short");
		return 0;
	case OPTION_NO_LEGEND:
		arguments->legend = false;
		return 0;
	case OPTION_NO_PAGER:
		return 0;
	case OPTION_QUIET:
		arguments->quiet = true;
		return 0;
	case OPTION_CPUS:
		if (parse_cpu_wish(value, &count, &text) < 0)
			return bad_value(option, value,
					 "is not a number of CPUs (2) nor a list of them (2-3,7)");
		return text ? popcorn_boot_options_set_cpus(arguments->boot, text)
			    : popcorn_boot_options_set_cpu_count(arguments->boot, count);
	case OPTION_MEMORY:
		if (parse_size(value, &number) < 0)
			return bad_value(option, value,
					 "is not a size; give for example 512M or 2G");
		return popcorn_boot_options_set_memory(arguments->boot, number);
	case OPTION_MEMORY_NODES:
		r = parse_node_wish(value, add_memory_node, arguments->boot);
		if (r == -EINVAL || r == -ERANGE)
			return bad_value(option, value,
					 "is not memory by node; give for example 0:512M,1:512M");
		return r;
	case OPTION_KERNEL:
		return set_file(line, option, value, popcorn_boot_options_set_kernel);
	case OPTION_INITRD:
		return set_file(line, option, value, popcorn_boot_options_set_initrd);
	case OPTION_SHARE:
		r = parse_share(value, add_share, arguments->boot);
		if (r == -EINVAL)
			return bad_value(option, value,
					 "is no share; give TAG:FOLDER or TAG:FOLDER:ro, with the "
					 "absolute path of a folder of the primary");
		return r;
	case OPTION_NO_VSOCK:
		return popcorn_boot_options_set_vsock(arguments->boot, false);
	case OPTION_ROOT:
		if (popcorn_boot_options_set_root(arguments->boot, value) < 0)
			return bad_value(option, value,
					 "is no root; give primary, initramfs, or the absolute "
					 "path of a folder");
		return 0;
	case OPTION_APPEND:
		text = xasprintf("%s%s%s", line->append ? line->append : "",
				 line->append ? " " : "", value);
		free(line->append);
		line->append = xstrdup(text);
		return popcorn_boot_options_set_command_line(arguments->boot, line->append);
	case OPTION_RESTART:
		if (popcorn_boot_options_set_restart(arguments->boot, value) < 0)
			return bad_value(option, value, "is not no or on-failure");
		return 0;
	case OPTION_NETWORK:
		if (popcorn_boot_options_set_network(arguments->boot, value) < 0)
			return bad_value(option, value,
					 "says nothing; give some of primary,kernels,outside, or "
					 "none, or default");
		return 0;
	case OPTION_TIMEOUT:
		if (parse_timespan(value, &arguments->timeout_usec) < 0)
			return bad_value(option, value,
					 "is not a time; give seconds, or for example 500ms, 2min");
		return popcorn_boot_options_set_timeout(arguments->boot, arguments->timeout_usec);
	case OPTION_NO_WAIT:
		arguments->wait = false;
		return 0;
	case OPTION_FOLLOW:
		arguments->follow = true;
		return 0;
	case OPTION_KERNEL_LOG:
		arguments->kernel_log = true;
		return 0;
	case OPTION_LINES:
		if (strcmp(value, "all") == 0)
			arguments->lines = SIZE_MAX;
		else if (parse_u32(value, &count) == 0)
			arguments->lines = count;
		else
			return bad_value(option, value, "is not a number of lines, nor all");
		arguments->has_lines = true;
		return 0;
	case OPTION_PROPERTY:
		return add_properties(arguments, value);
	case OPTION_XML:
		arguments->xml = value;
		return 0;
	case OPTION_SYNTHETIC:
		arguments->synthetic = value;
		return 0;
	case OPTION_EXPLAIN:
		arguments->explain = true;
		return 0;
	case OPTION_DIFF:
		arguments->diff = true;
		return 0;
	case OPTION_BOOT_ARGS:
		arguments->boot_args = true;
		return 0;
	case OPTION_ATOMIC:
		arguments->atomic = true;
		return 0;
	case OPTION_YES:
		arguments->yes = true;
		return 0;
	case OPTION_DRAW:
		arguments->draw = value;
		return 0;
	case OPTION_COUNT:
		if (parse_u32(value, &arguments->count) < 0)
			return bad_value(option, value, "is not a number of messages");
		return 0;
	case OPTION_SIZE:
		if (parse_u32(value, &count) < 0 || count > POPCORN_MSG_CALL_MAX)
			return bad_value(option, value,
					 "is not a size of a message; give 0 to 3072 bytes");
		arguments->message_size = count;
		return 0;
	case OPTION_INTERVAL:
		arguments->has_interval = true;
		arguments->interval_usec = 0;
		if (strcmp(value, "0") != 0 && parse_timespan(value, &arguments->interval_usec) < 0)
			return bad_value(option, value,
					 "is not a time; give seconds, or for example 100ms");
		return 0;
	case OPTION_WATCH:
		arguments->watch_usec = WATCH_USEC;
		if (value && parse_timespan(value, &arguments->watch_usec) < 0)
			return bad_value(option, value,
					 "is not a time; give seconds, or for example 500ms");
		return 0;
	case OPTION_ONCE:
		arguments->once = true;
		return 0;
	case OPTION_TTY:
		arguments->tty = true;
		return 0;
	}
	return -EINVAL;
}

static const char *help_command(const struct verb *verb)
{
	static char text[64];

	snprintf(text, sizeof(text), "popcornctl %s%s--help", verb ? verb->name : "",
		 verb ? " " : "");
	return text;
}

/*
 * Parses the options of @verb (NULL: those of every verb) in argv, whose first element is skipped.
 * @stop: end at the first word that is not an option. Sets optind.
 */
static int parse_options(struct command_line *line, int argc, char **argv, const struct verb *verb,
			 bool stop)
{
	struct option longs[NR_OPTIONS + 1] = { 0 };
	char shorts[2 * NR_OPTIONS + 3];
	size_t n = 0;
	char *s = shorts;
	int id;

	if (stop)
		*s++ = '+';
	*s++ = ':'; /* a missing argument is told from an unknown option */
	for (size_t i = 0; i < NR_OPTIONS; i++) {
		if (!option_is_for(&options[i], verb))
			continue;
		longs[n++] = (struct option){ options[i].name, options[i].has_argument, NULL,
					      (int)options[i].id };
		if (!options[i].letter)
			continue;
		*s++ = options[i].letter;
		if (options[i].has_argument == required_argument)
			*s++ = ':';
	}
	*s = '\0';
	optind = 0; /* glibc: begin anew */
	opterr = 0;
	while ((id = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const struct option_info *option = NULL;
		int r;

		if (id == ':') {
			complain(NULL, "'%s' needs a value; see '%s'", argv[optind - 1],
				 help_command(verb));
			return -EINVAL;
		}
		if (id == '?') {
			char letter[] = { '-', (char)optopt, '\0' };
			bool known = optopt > 0 && optopt < 256;

			complain(NULL, "there is no option '%s'%s%s; see '%s'",
				 known ? letter : argv[optind - 1], verb ? " for " : "",
				 verb ? verb->name : "", help_command(verb));
			return -EINVAL;
		}
		for (size_t i = 0; i < NR_OPTIONS; i++)
			if (option_is_for(&options[i], verb) &&
			    ((int)options[i].id == id || options[i].letter == id))
				option = &options[i];
		r = set_option(line, option, optarg);
		if (r == -ENOMEM)
			complain(NULL, "out of memory");
		if (r < 0)
			return r;
	}
	return 0;
}

/* `exec NAME [--] COMMAND...`, and `shell`: the dashes are for whoever writes them by habit, and no command. */
static int check_command(struct command_line *line)
{
	struct arguments *arguments = &line->arguments;
	char **names = arguments->names;

	if (arguments->n_names > 1 && strcmp(names[1], "--") == 0) {
		names[1] = names[0];
		arguments->names++;
		arguments->n_names--;
	} else if (arguments->n_names > 1 && *names[1] == '-') {
		complain(NULL,
			 "%s: '%s' is not a command; options stand before the name of the kernel",
			 line->verb->name, names[1]);
		return -EINVAL;
	}
	if (arguments->n_names == 1 && line->verb->min > 1) {
		complain(NULL, "%s: the command is missing; see '%s'", line->verb->name,
			 help_command(line->verb));
		return -EINVAL;
	}
	return 0;
}

static int check_names(const struct command_line *line)
{
	const struct arguments *arguments = &line->arguments;
	const struct verb *verb = line->verb;
	uint32_t job;

	if (arguments->n_names < verb->min) {
		complain(NULL, "%s: %s is missing; see '%s'", verb->name,
			 strcmp(verb->names, "JOB") == 0      ? "the number of a job"
			 : strcmp(verb->names, "POLICY") == 0 ? "the name or the file of a policy"
							      : "the name of a kernel",
			 help_command(verb));
		return -EINVAL;
	}
	if (arguments->n_names > verb->max) {
		complain(NULL, "%s: '%s' is too much; see '%s'", verb->name,
			 arguments->names[verb->max], help_command(verb));
		return -EINVAL;
	}
	if (strcmp(verb->names, "JOB") == 0 && parse_u32(arguments->names[0], &job) < 0) {
		complain(NULL, "%s: '%s' is not the number of a job", verb->name,
			 arguments->names[0]);
		return -EINVAL;
	}
	if ((verb->flags & HERE_ONLY) && arguments->host) {
		complain(NULL,
			 "%s: messages can't be sent from another machine; run popcornctl there: "
			 "ssh -t %s popcornctl %s ... (%s)",
			 verb->name, arguments->host, verb->name,
			 short_error(popcorn_error_name(POPCORN_ERROR_NOT_SUPPORTED)));
		return -EINVAL;
	}
	if (verb->run == verb_top && arguments->has_interval && !arguments->interval_usec) {
		complain(NULL, "%s: --interval: it has to wait between two looks", verb->name);
		return -EINVAL;
	}
	if (arguments->json && (arguments->tty || verb->run == verb_shell)) {
		complain(NULL,
			 "%s: --json: what is on a terminal is for people; use exec without -t",
			 verb->name);
		return -EINVAL;
	}
	if (arguments->kernel_log && arguments->follow) {
		complain(NULL, "%s: --kernel can't be followed; it is read once", verb->name);
		return -EINVAL;
	}
	return 0;
}

static int parse(struct command_line *line, int argc, char **argv)
{
	int first, r;

	r = parse_options(line, argc, argv, NULL, true);
	if (r < 0)
		return r;
	line->verb = &verbs[0];
	if (optind >= argc)
		return 0;
	first = optind;
	line->verb = find_verb(argv[first]);
	if (!line->verb) {
		complain(NULL, "there is no verb '%s'; see 'popcornctl --help'", argv[first]);
		return -EINVAL;
	}
	line->verb_given = true;
	r = parse_options(line, argc - first, argv + first, line->verb,
			  line->verb->flags & COMMAND);
	if (r < 0)
		return r;
	line->arguments.names = argv + first + optind;
	line->arguments.n_names = argc - first - optind;
	/* Help is given to who asks for it, whatever else is missing. */
	if (line->help || line->version)
		return 0;
	if ((line->verb->flags & COMMAND) && check_command(line) < 0)
		return -EINVAL;
	return check_names(line);
}

static int run(const struct command_line *line)
{
	struct popcorn *popcorn;
	int code;

	if (line->verb->is_local && line->verb->is_local(&line->arguments))
		return line->verb->run(NULL, &line->arguments);
	popcorn = popcorn_new();
	if (!popcorn) {
		complain(NULL, "out of memory");
		return EXIT_FAILED;
	}
	if ((line->verb->flags & AUTHORIZE) && !line->arguments.host)
		agent_open();
	if (popcorn_connect(popcorn, line->arguments.host, POPCORN_CONNECT_INTERACTIVE) < 0)
		code = complain_last(popcorn, line->verb->name);
	else
		code = line->verb->run(popcorn, &line->arguments);
	popcorn_unref(popcorn);
	agent_close();
	return code;
}

int main(int argc, char **argv)
{
	struct command_line line = { .arguments = { .legend = true,
						    .wait = true,
						    .count = PING_COUNT,
						    .message_size = PING_SIZE } };
	int code;

	/* Not LC_NUMERIC: numbers are read and printed for programs as well. */
	setlocale(LC_CTYPE, "");
	setlocale(LC_TIME, "");
	line.arguments.boot = popcorn_boot_options_new();
	if (!line.arguments.boot) {
		complain(NULL, "out of memory");
		return EXIT_FAILED;
	}
	if (parse(&line, argc, argv) < 0) {
		code = EXIT_USAGE;
	} else if (line.help) {
		code = help(line.verb_given ? line.verb : NULL);
	} else if (line.version) {
		puts("popcornctl " POPCORN_VERSION);
		code = EXIT_DONE;
	} else {
		code = run(&line);
	}
	popcorn_boot_options_free(line.arguments.boot);
	free(line.arguments.properties);
	free(line.append);
	/* A full disk or a closed pipe is a failure too. */
	if ((fflush(stdout) || ferror(stdout)) && code == EXIT_DONE) {
		complain(NULL, "writing the output: %s", strerror(errno));
		code = EXIT_FAILED;
	}
	return code;
}
