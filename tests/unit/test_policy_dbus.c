// SPDX-License-Identifier: GPL-2.0-or-later
/* Plans and Apply as clients see them, and what is left when popcornd is killed in the middle. */
#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "house.h"
#include "run.h"
#include "util.h"

/* Three kernels on node 1, the last one after the others; one has its memory of both nodes. */
#define ABC                                                                                \
	"default = { memory = \"128M\"; };\n"                                              \
	"groups = (\n"                                                                     \
	"	{ name = \"a\"; cpus = \"4\"; },\n"                                              \
	"	{ name = \"b\"; cpus = \"5\"; memory = \"256M\"; memory_from = \"interleave\"; " \
	"},\n"                                                                             \
	"	{ name = \"c\"; cpus = \"6-7\"; after = ( \"a\", \"b\" ); }\n"                   \
	");\n"
#define A_ONLY                                \
	"default = { memory = \"128M\"; };\n" \
	"groups = ( { name = \"a\"; cpus = \"4\"; } );\n"
/* As little as has memory of two nodes and an order. */
#define AC                                                                                 \
	"default = { memory = \"128M\"; };\n"                                              \
	"groups = (\n"                                                                     \
	"	{ name = \"a\"; cpus = \"4\"; memory = \"256M\"; memory_from = \"interleave\"; " \
	"},\n"                                                                             \
	"	{ name = \"c\"; cpus = \"6\"; after = \"a\"; }\n"                                \
	");\n"
/* The other CPU for b, another command line for c. */
#define A_B2_C2                                                                          \
	"default = { memory = \"128M\"; };\n"                                            \
	"groups = ( { name = \"a\"; cpus = \"4\"; }, { name = \"b\"; cpus = \"3\"; },\n" \
	"	{ name = \"c\"; cpus = \"6-7\"; cmdline = \"debug\"; } );\n"

static void write_policy(const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "/policies/%s.conf", name);
	fake_write_file(fake, path, text, strlen(text));
}

static void make(void)
{
	house_make(8, 16, 2);
	write_policy("abc", ABC);
}

static void unmake(void)
{
	house_unmake();
}

/* What a method that returns texts says; NULL and ended_error if it refuses. */
static char *ask(const char *method, const char *types, ...)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL, *m = NULL;
	sd_bus_error error = SD_BUS_ERROR_NULL;
	const char *text;
	va_list ap;
	int r;

	ck_assert_int_ge(
		sd_bus_message_new_method_call(bus, &m, BUS_NAME, BUS_PATH, MANAGER, method), 0);
	va_start(ap, types);
	ck_assert_int_ge(sd_bus_message_appendv(m, types, ap), 0);
	va_end(ap);
	r = sd_bus_call(bus, m, 0, &error, &reply);
	if (r < 0) {
		snprintf(ended_error, sizeof(ended_error), "%s", error.name);
		snprintf(ended_text, sizeof(ended_text), "%s", error.message);
		sd_bus_error_free(&error);
		return NULL;
	}
	if (strcmp(method, "GetPolicy") == 0)
		ck_assert_int_gt(sd_bus_message_read(reply, "s", &text), 0);
	ck_assert_int_gt(sd_bus_message_read(reply, "s", &text), 0);
	return strdup(text);
}

static json_t *ask_json(char *text)
{
	_cleanup_free_ char *own = text;
	json_error_t error;
	json_t *json;

	ck_assert_msg(text != NULL, "%s: %s", ended_error, ended_text);
	json = json_loads(text, 0, &error);
	ck_assert_msg(json != NULL, "%s: %s", error.text, own);
	return json;
}

static void says(const char *text)
{
	ck_assert_msg(strstr(ended_text, text) != NULL, "'%s' is not in '%s'", text, ended_text);
}

/* "keep a, start b": of a plan with Diff. */
static void changes_are(json_t *plan, const char *expected)
{
	char is[512] = "";
	json_t *change;
	size_t i;

	json_array_foreach(json_object_get(plan, "changes"), i, change)
	{
		snprintf(is + strlen(is), sizeof(is) - strlen(is), "%s%s %s", i ? ", " : "",
			 json_string_value(json_object_get(change, "change")),
			 json_string_value(json_object_get(change, "name")));
	}
	ck_assert_str_eq(is, expected);
	json_decref(plan);
}

static void differs(const char *policy, const char *text, const char *expected)
{
	changes_are(
		ask_json(text ? ask("Plan", "sa{sv}", policy, 2, "Diff", "b", 1, "Text", "s", text)
			      : ask("Plan", "sa{sv}", policy, 1, "Diff", "b", 1)),
		expected);
}

static const char *apply(const char *policy, const char *text, int atomic, int prune)
{
	if (!text)
		return call("Apply", "sa{sv}", policy, 2, "Atomic", "b", atomic, "Prune", "b",
			    prune);
	return call("Apply", "sa{sv}", policy, 3, "Atomic", "b", atomic, "Prune", "b", prune,
		    "Text", "s", text);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Names of kernels that run, sorted. */
static void runs(const char *expected)
{
	_cleanup_free_ char *all = list();
	char names[16][64], is[256] = "", *save = NULL;
	size_t n = 0;

	for (char *line = strtok_r(all, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char name[64], state[16];

		ck_assert_int_eq(sscanf(line, "%63s %*u %15s", name, state), 2);
		if (strcmp(state, "running") == 0)
			strcpy(names[n++], name);
	}
	if (n)
		qsort(names, n, sizeof(names[0]), compare_names);
	for (size_t i = 0; i < n; i++)
		strcat(strcat(is, *is ? " " : ""), names[i]);
	ck_assert_str_eq(is, expected);
}

static uint64_t has_of(const char *name, unsigned node)
{
	const struct fake_kernel *kernel = fake_kernel(fake, name);
	uint64_t sum = 0;

	ck_assert_ptr_nonnull(kernel);
	for (uint32_t i = 0; i < kernel->n_ranges; i++)
		if (kernel->ranges[i].node == node)
			sum += kernel->ranges[i].length;
	return sum;
}

static bool has_apply_file(void)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/run/apply", fake->root);
	return access(path, F_OK) == 0;
}

static void stop_all(void)
{
	_cleanup_free_ char *all = list();
	char *save = NULL;

	for (char *line = strtok_r(all, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char name[64], state[16];

		ck_assert_int_eq(sscanf(line, "%63s %*u %15s", name, state), 2);
		if (strcmp(state, "running") == 0)
			ends(call("Kill", "s", name), "done", "");
	}
	fake_check_whole(fake);
}

START_TEST(test_plan)
{
	json_t *plan, *kernel;

	plan = ask_json(ask("Plan", "sa{sv}", "abc", 0));
	ck_assert_str_eq(json_string_value(json_object_get(plan, "policy")), "abc");
	ck_assert_uint_eq(json_array_size(json_object_get(plan, "kernels")), 3);
	ck_assert_ptr_null(json_object_get(plan, "changes"));
	kernel = json_array_get(json_object_get(plan, "kernels"), 1);
	ck_assert_str_eq(json_string_value(json_object_get(kernel, "name")), "b");
	ck_assert_uint_eq(json_array_size(json_object_get(kernel, "memory_nodes")), 2);
	json_decref(plan);
	/* More with Explain; Diff says what Apply would do. */
	plan = ask_json(ask("Plan", "sa{sv}", "abc", 1, "Explain", "b", 1));
	ck_assert_uint_gt(json_array_size(json_object_get(plan, "notes")), 2);
	json_decref(plan);
	differs("abc", NULL, "start a, start b, start c");
	/* Of a text: the name is only a name. */
	plan = ask_json(ask("Plan", "sa{sv}", "mine", 1, "Text", "s", A_ONLY));
	ck_assert_str_eq(json_string_value(json_object_get(plan, "policy")), "mine");
	ck_assert_uint_eq(json_array_size(json_object_get(plan, "kernels")), 1);
	json_decref(plan);
	/* A wish that can't be met is not an error of Plan. */
	plan = ask_json(ask("Plan", "sa{sv}", "mine", 1, "Text", "s",
			    "groups = (\n{ name = \"x\"; cpus = \"70\"; } );"));
	ck_assert_ptr_null(json_object_get(plan, "kernels"));
	kernel = json_array_get(json_object_get(plan, "problems"), 0);
	ck_assert_int_eq(json_integer_value(json_object_get(kernel, "line")), 2);
	json_decref(plan);
	fake_check_whole(fake);
}
END_TEST

static void refuses(char *answer, const char *error, const char *text)
{
	ck_assert_msg(answer == NULL, "not refused: %s", answer);
	ck_assert_str_eq(ended_error, error);
	says(text);
}

START_TEST(test_refused)
{
	_cleanup_free_ char *large = malloc((1 << 20) + 2);

	/* Never a path. */
	refuses(ask("Plan", "sa{sv}", "/etc/passwd", 0), ERROR("NoSuchPolicy"), "");
	refuses(ask("Plan", "sa{sv}", "../popcornd", 0), ERROR("NoSuchPolicy"), "");
	refuses(ask("Plan", "sa{sv}", "", 0), ERROR("NoSuchPolicy"), "");
	refuses(ask("Plan", "sa{sv}", "none", 0), ERROR("NoSuchPolicy"), "none");
	refuses(ask("GetPolicy", "s", "/etc/passwd"), ERROR("NoSuchPolicy"), "");
	refuses(ask("GetPolicy", "s", "none"), ERROR("NoSuchPolicy"), "none");
	refuses(ask("Plan", "sa{sv}", "abc", 1, "Colour", "s", "red"), ERROR("InvalidArgument"),
		"Colour");
	refuses(ask("Plan", "sa{sv}", "abc", 1, "Explain", "s", "yes"), ERROR("InvalidArgument"),
		"type s");
	/* Options of the other method. */
	refuses(ask("Plan", "sa{sv}", "abc", 1, "Prune", "b", 1), ERROR("InvalidArgument"),
		"Prune");
	refuses(ask("GetTopology", "s", "svg"), ERROR("InvalidArgument"), "svg");
	refuses(ask("Plan", "sa{sv}", "mine", 1, "Text", "s", "groups = 3;\n"),
		ERROR("ConfigInvalid"), "mine:1: groups");
	refuses(ask("Plan", "sa{sv}", "mine", 1, "Text", "s", "groups = ("), ERROR("ConfigInvalid"),
		"mine:");
	memset(large, ' ', (1 << 20) + 1);
	large[(1 << 20) + 1] = '\0';
	refuses(ask("Plan", "sa{sv}", "mine", 1, "Text", "s", large), ERROR("ConfigInvalid"),
		"1048577 bytes");

	refused(call("Apply", "sa{sv}", "/etc/passwd", 0), ERROR("NoSuchPolicy"));
	refused(call("Apply", "sa{sv}", "none", 0), ERROR("NoSuchPolicy"));
	refused(call("Apply", "sa{sv}", "abc", 1, "Explain", "b", 1), ERROR("InvalidArgument"));
	refused(apply("mine", "groups = (\n{ name = \"x\"; cpus = \"70\"; } );", 0, 0),
		ERROR("PlanImpossible"));
	says("mine:2: x:");
	says("70");
	refused(apply("mine", "groups = ( { name = \"x\"; cpus = \"4\"; image = \"/none\"; } );", 0,
		      0),
		ERROR("ImageNotFound"));
	says("kernel x: ");
	refused(apply("mine",
		      "default = { memory = \"128M\"; };\n"
		      "groups = ( { name = \"x\"; cpus = \"4\"; }, { name = \"y\"; cpus = \"5\";\n"
		      "initrd = \"/none\"; } );",
		      1, 0),
		ERROR("InitrdNotFound"));
	says("kernel y: ");
	/* Another's kernel of the same name. */
	ends(call("Boot", "sa{sv}", "b", 1, "Cpus", "s", "1"), "done", "");
	refused(apply("abc", NULL, 0, 1), ERROR("PlanImpossible"));
	says("called 'b'");
	stop_all();
	ck_assert(!has_apply_file());
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_policies)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	_cleanup_free_ char *text = NULL, *xml = NULL;
	const char *name, *path, *description;
	json_t *json;
	int valid;

	write_policy("bad", "groups = 3;\n");
	ck_assert_int_ge(sd_bus_call_method(bus, BUS_NAME, BUS_PATH, MANAGER, "ListPolicies", NULL,
					    &reply, NULL),
			 0);
	ck_assert_int_ge(sd_bus_message_enter_container(reply, 'a', "(sssb)"), 0);
	ck_assert_int_gt(sd_bus_message_read(reply, "(sssb)", &name, &path, &description, &valid),
			 0);
	ck_assert_str_eq(name, "abc");
	ck_assert(valid);
	ck_assert_int_gt(sd_bus_message_read(reply, "(sssb)", &name, &path, &description, &valid),
			 0);
	ck_assert_str_eq(name, "bad");
	ck_assert(!valid);
	ck_assert_ptr_nonnull(strstr(description, "groups"));
	ck_assert_int_eq(sd_bus_message_read(reply, "(sssb)", &name, &path, &description, &valid),
			 0);
	text = ask("GetPolicy", "s", "abc");
	ck_assert_str_eq(text, ABC);

	json = ask_json(ask("GetTopology", "s", "json"));
	ck_assert_int_eq(json_integer_value(json_object_get(json, "block_size")), FAKE_BLOCK_SIZE);
	json_decref(json);
	xml = ask("GetTopology", "s", "xml");
	ck_assert_ptr_nonnull(strstr(xml, "<topology"));
}
END_TEST

START_TEST(test_apply)
{
	ends(apply("abc", NULL, 0, 0), "done", "");
	runs("a b c");
	is("b", "Policy", "abc");
	ck_assert_uint_eq(has_of("a", 1), 128 * MIB);
	ck_assert_uint_eq(has_of("b", 0), 128 * MIB);
	ck_assert_uint_eq(has_of("b", 1), 128 * MIB);
	ck_assert_uint_eq(fake_kernel(fake, "c")->n_cpus, 2);
	ck_assert(!has_apply_file());
	/* c starts after the others. */
	ck_assert_uint_gt(fake_kernel(fake, "c")->generation, fake_kernel(fake, "a")->generation);
	ck_assert_uint_gt(fake_kernel(fake, "c")->generation, fake_kernel(fake, "b")->generation);

	/* Again: nothing. Also after a restart. */
	differs("abc", NULL, "keep a, keep b, keep c");
	end_daemon(SIGKILL);
	start_daemon();
	is("b", "Policy", "abc");
	differs("abc", NULL, "keep a, keep b, keep c");
	ends(apply("abc", NULL, 1, 0), "done", "");
	ck_assert_uint_eq(fake->generations, 3);

	/* What is missing is started. */
	ends(call("Stop", "st", "b", (uint64_t)0), "done", "");
	is("b", "Policy", "abc");
	differs("abc", NULL, "start b, keep a, keep c");
	ends(apply("abc", NULL, 0, 0), "done", "");
	runs("a b c");
	ck_assert_uint_eq(fake->generations, 4);

	/* What others run is in nobody's way, and no policy's. */
	ends(call("Boot", "sa{sv}", "mine", 1, "Cpus", "s", "2"), "done", "");
	is("mine", "Policy", "");
	differs("abc", NULL, "keep a, keep b, keep c");
	refused(apply("other", "groups = ( { name = \"z\"; cpus = \"2\"; memory = \"128M\"; } );",
		      0, 1),
		ERROR("PlanImpossible"));
	says("mine");
	stop_all();
}
END_TEST

START_TEST(test_prune)
{
	uint32_t generation;

	ends(apply("abc", NULL, 0, 0), "done", "");
	generation = fake_kernel(fake, "a")->generation;
	/* Not without being allowed to. */
	refused(apply("abc", A_B2_C2, 0, 0), ERROR("WouldStop"));
	says("b (would be replaced");
	says("c (would be replaced: command line 'debug' instead of '')");
	refused(apply("abc", A_ONLY, 1, 0), ERROR("WouldStop"));
	says("b (is not in the plan");
	runs("a b c");

	differs("abc", A_B2_C2, "replace b, replace c, keep a");
	ends(apply("abc", A_B2_C2, 0, 1), "done", "");
	runs("a b c");
	ck_assert_uint_eq(fake_kernel(fake, "b")->cpus[0], 3);
	ck_assert_uint_eq(fake_kernel(fake, "a")->generation, generation);
	is("c", "CommandLine", "debug");

	differs("abc", A_ONLY, "stop b, stop c, keep a");
	ends(apply("abc", A_ONLY, 0, 1), "done", "");
	runs("a");
	/* What was stopped is remembered, but nothing of it is left. */
	is("b", "State", "stopped");
	/* The whole policy goes. */
	ends(apply("abc", "groups = ( { name = \"x\"; cpus = \"3\"; memory = \"128M\"; } );", 1, 1),
	     "done", "");
	runs("x");
	stop_all();
}
END_TEST

/* How a kernel is watched over changes without a boot. */
START_TEST(test_keep)
{
	ends(apply("p", A_ONLY, 0, 0), "done", "");
	is("a", "Restart", "no");
	ends(apply("p",
		   "groups = ( { name = \"a\"; cpus = \"4\"; memory = \"128M\"; "
		   "restart = \"on-failure\"; boot_timeout = 7; } );",
		   0, 0),
	     "done", "");
	is("a", "Restart", "on-failure");
	ck_assert_uint_eq(fake->generations, 1);
	has_line("/run/kernels/a", "BOOT_TIMEOUT=7000000\n");
	stop_all();
}
END_TEST

/* A share is a little more or less each time that it is looked at. */
START_TEST(test_share_changes)
{
	static const char text[] = "groups = ( { name = \"a\"; cpus = \"4-7\"; } );";
	uint64_t had;

	ends(apply("p", text, 0, 0), "done", "");
	had = has_of("a", 1);
	ck_assert_uint_gt(had, 512 * MIB);
	/* Of node 1 nothing more can be taken. */
	for (unsigned i = 8; i < 16; i++)
		if (fake->blocks[i].online)
			fake->blocks[i].zone = 'x';
	fake->blocks[8].zone = 'x';
	fake_refresh(fake);
	differs("p", text, "keep a");
	ends(apply("p", text, 0, 0), "done", "");
	ck_assert_uint_eq(fake->generations, 1);
	/* Another text is another wish. */
	differs("p", "groups = ( { name = \"a\"; cpus = \"4-7\"; memory = \"256M\"; } );",
		"replace a");
	ends(call("Kill", "s", "a"), "done", "");
}
END_TEST

START_TEST(test_crashed)
{
	ends(apply("abc", NULL, 0, 0), "done", "");
	fake->end_reason = POPCORN_REASON_PANIC;
	fake_kernel(fake, "b")->script[0] = POPCORN_STATE_CRASHED;
	fake_kernel(fake, "b")->n_script = 1;
	sd_bus_call_method(bus, BUS_NAME, BUS_PATH, MANAGER, "OpenKernelLog", NULL, NULL, "s", "b");
	reaches("b", "crashed");
	fake->end_reason = POPCORN_REASON_NONE;
	/* It holds its memory still, and is to run elsewhere: what it holds goes first. */
	differs("abc", A_B2_C2, "replace c, start b, keep a");
	/* Nothing that runs has to be stopped for this. */
	differs("abc", NULL, "start b, keep a, keep c");
	ends(apply("abc", NULL, 1, 0), "done", "");
	runs("a b c");
	/* One that is not wanted any more only gives back. */
	fake->end_reason = POPCORN_REASON_PANIC;
	fake_kernel(fake, "c")->script[0] = POPCORN_STATE_CRASHED;
	fake_kernel(fake, "c")->n_script = 1;
	sd_bus_call_method(bus, BUS_NAME, BUS_PATH, MANAGER, "OpenKernelLog", NULL, NULL, "s", "c");
	reaches("c", "crashed");
	ck_assert_ptr_nonnull(fake_kernel(fake, "c"));
	ends(apply("abc",
		   "default = { memory = \"128M\"; };\n"
		   "groups = ( { name = \"a\"; cpus = \"4\"; }, { name = \"b\"; cpus = \"5\";"
		   "memory = \"256M\"; memory_from = \"interleave\"; } );\n",
		   0, 0),
	     "done", "");
	ck_assert_ptr_null(fake_kernel(fake, "c"));
	is("c", "State", "crashed");
	stop_all();
}
END_TEST

START_TEST(test_one_fails)
{
	fake->refuse_cpu[5] = true;
	ends(apply("abc", NULL, 0, 0), "failed", ERROR("CpuBusy"));
	says("b could not be started: CPU 5");
	says("not begun, because it starts after these: c");
	runs("a");
	ck_assert(!has_apply_file());
	/* The rest, when it can. */
	fake->refuse_cpu[5] = false;
	ends(apply("abc", NULL, 0, 0), "done", "");
	runs("a b c");
	stop_all();
}
END_TEST

START_TEST(test_atomic)
{
	fake->refuse_cpu[7] = true;
	ends(apply("abc", NULL, 1, 0), "failed", ERROR("CpuBusy"));
	says("c could not be started: CPU 7");
	says("stopped again");
	runs("");
	fake_check_whole(fake);
	/* What failed says why; of the others there is nothing. */
	is("c", "State", "failed");
	is("a", "State", "");
	ck_assert(!has_apply_file());

	/* Those that ran come back as they were. */
	fake->refuse_cpu[7] = false;
	ends(apply("abc", NULL, 1, 0), "done", "");
	fake->refuse_cpu[3] = true;
	ends(apply("abc", A_B2_C2, 1, 1), "failed", ERROR("CpuBusy"));
	says("b could not be started: CPU 3");
	says("started again as it was");
	runs("a b c");
	is("c", "CommandLine", "");
	ck_assert_uint_eq(fake_kernel(fake, "b")->cpus[0], 5);
	ck_assert_uint_eq(has_of("b", 0), 128 * MIB);
	differs("abc", NULL, "keep a, keep b, keep c");
	stop_all();
}
END_TEST

static void cancel(const char *job)
{
	ck_assert_int_ge(sd_bus_call_method(bus, BUS_NAME, job, JOB, "Cancel", NULL, NULL, NULL),
			 0);
}

START_TEST(test_cancel)
{
	char job[64];

	/* They stay in "booting". */
	fake->n_script = 0;
	snprintf(job, sizeof(job), "%s", apply("abc", NULL, 1, 0));
	reaches("a", "booting");
	reaches("b", "booting");
	refused(apply("abc", NULL, 0, 0), ERROR("Busy"));
	cancel(job);
	ends(job, "cancelled", ERROR("Cancelled"));
	runs("");
	fake_check_whole(fake);
	is("a", "State", "");

	snprintf(job, sizeof(job), "%s", apply("abc", NULL, 0, 0));
	reaches("a", "booting");
	reaches("b", "booting");
	cancel(job);
	/* What boots goes on to boot. */
	for (int i = 0; i < 2; i++) {
		struct fake_kernel *kernel = fake_kernel(fake, i ? "b" : "a");

		kernel->script[0] = POPCORN_STATE_RUNNING;
		kernel->n_script = 1;
		sd_bus_call_method(bus, BUS_NAME, BUS_PATH, MANAGER, "OpenKernelLog", NULL, NULL,
				   "s", i ? "b" : "a");
	}
	ends(job, "cancelled", ERROR("Cancelled"));
	runs("a b");
	says("1 were not begun");
	stop_all();
}
END_TEST

START_TEST(test_job)
{
	_cleanup_free_ char *name = NULL, *type = NULL, *step = NULL;
	sd_bus_error error = SD_BUS_ERROR_NULL;
	const char *job, *kernel;
	sd_bus_message *reply;
	char path[64];

	fake->n_script = 0;
	job = apply("abc", NULL, 1, 0);
	snprintf(path, sizeof(path), "%s", job);
	reaches("a", "booting");
	ck_assert_int_ge(
		sd_bus_get_property_string(bus, BUS_NAME, path, JOB, "Name", &error, &name), 0);
	ck_assert_str_eq(name, "abc");
	ck_assert_int_ge(
		sd_bus_get_property_string(bus, BUS_NAME, path, JOB, "Type", &error, &type), 0);
	ck_assert_str_eq(type, "apply");
	ck_assert_int_ge(
		sd_bus_get_property_string(bus, BUS_NAME, path, JOB, "Step", &error, &step), 0);
	ck_assert_str_eq(step, "start 2 of 3");
	ck_assert_int_ge(
		sd_bus_get_property(bus, BUS_NAME, path, JOB, "Kernel", &error, &reply, "o"), 0);
	ck_assert_int_gt(sd_bus_message_read(reply, "o", &kernel), 0);
	ck_assert_str_eq(kernel, "/");
	sd_bus_message_unref(reply);
	cancel(path);
	ends(path, "cancelled", ERROR("Cancelled"));
	fake_check_whole(fake);
}
END_TEST

/* Somebody else ends one that is being undone. */
START_TEST(test_stopped_by_others)
{
	char job[64];

	fake->n_script = 0;
	snprintf(job, sizeof(job), "%s", apply("abc", NULL, 1, 0));
	reaches("a", "booting");
	reaches("b", "booting");
	ck_assert_int_ge(
		sd_bus_call_method(bus, BUS_NAME, BUS_PATH, MANAGER, "Kill", NULL, NULL, "s", "a"),
		0);
	ends(job, "failed", ERROR("Failed"));
	says("a could not be started: the operation was cancelled");
	runs("");
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_terminated)
{
	fake->n_script = 0;
	apply("abc", NULL, 1, 0);
	reaches("a", "booting");
	reaches("b", "booting");
	end_daemon(SIGTERM);
	ck_assert(has_apply_file());
	start_daemon();
	/* All or nothing: it is undone by the next one. */
	reaches("a", "");
	reaches("b", "");
	fake_check_whole(fake);
	ck_assert(!has_apply_file());
}
END_TEST

static void reaches_an_end(const char *name)
{
	for (;;) {
		_cleanup_free_ char *state = property(name, "State");

		if (strcmp(state, "running") == 0 || strcmp(state, "stopped") == 0 ||
		    strcmp(state, "failed") == 0 || strcmp(state, "") == 0)
			return;
		sd_bus_process(bus, NULL);
	}
}

static bool is_undone(const void *unused)
{
	return !has_apply_file();
}

/* popcornd dies at each step that an Apply takes at the driver and at the machine. */
START_TEST(test_killed_at_each_step)
{
	const int atomic = _i;
	unsigned step;

	for (step = 1;; step++) {
		const char *job;
		bool over;

		end_daemon(SIGTERM);
		start_daemon();
		fake->step = 0;
		fake->step_at = step;
		fake->mode = FAKE_CRASH_AFTER;
		job = apply("ac", AC, atomic, 0);
		while (!*ended_job && is_alive())
			sd_bus_process(bus, NULL);
		fake->step_at = 0;
		if (*ended_job) {
			ends(job, "done", "");
			runs("a c");
			stop_all();
			break;
		}
		bury_daemon();
		/*
		 * It may have died between the end of the apply and the news of it. Without the file
		 * there is all of it or nothing.
		 */
		over = !has_apply_file() && fake_kernel(fake, "a");
		start_daemon();
		process(is_undone, NULL);
		if (over) {
			runs("a c");
			stop_all();
		} else if (atomic) {
			runs("");
		} else {
			/* What was begun is taken up as after any boot; the rest can be had. */
			reaches_an_end("a");
			reaches_an_end("c");
			ends(apply("ac", AC, 0, 0), "done", "");
			runs("a c");
			stop_all();
		}
		fake_check_whole(fake);
	}
	ck_assert_uint_gt(step, 30);
}
END_TEST

/* Each of these steps fails. */
START_TEST(test_each_step_fails)
{
	const int atomic = _i;

	for (unsigned step = 1;; step++) {
		const char *job;

		fake->step = 0;
		fake->step_at = step;
		fake->mode = FAKE_FAIL;
		job = apply("ac", AC, atomic, 0);
		ck_assert_msg(job != NULL, "%s", ended_text);
		while (!*ended_job)
			sd_bus_process(bus, NULL);
		fake->step_at = 0;
		ck_assert(!has_apply_file());
		if (strcmp(ended_result, "done") == 0) {
			/* If it was the driver that did not say so, the next popcornd asks. */
			end_daemon(SIGTERM);
			start_daemon();
			runs("a c");
			stop_all();
			/* What failed may be made good by another step. */
			if (fake->step < step)
				break;
			continue;
		}
		if (atomic)
			runs("");
		ends(apply("ac", AC, 0, 1), "done", "");
		end_daemon(SIGTERM);
		start_daemon();
		runs("a c");
		stop_all();
	}
}
END_TEST

START_TEST(test_no_driver)
{
	uint32_t flags = fake->info_flags;
	_cleanup_free_ char *text = NULL;

	end_daemon(SIGTERM);
	fake->info_flags = UINT32_MAX;
	start_daemon();
	refuses(ask("Plan", "sa{sv}", "abc", 0), ERROR("NoDriver"), "");
	refused(apply("abc", NULL, 0, 0), ERROR("NoDriver"));
	/* Policies can be read all the same. */
	text = ask("GetPolicy", "s", "abc");
	ck_assert_str_eq(text, ABC);
	fake->info_flags = flags;
	ends(apply("abc", NULL, 0, 0), "done", "");
	stop_all();
}
END_TEST

START_TEST(test_damaged_file)
{
	end_daemon(SIGTERM);
	fake_write_file(fake, "/run/apply", "POLICY=abc\nATOMIC=1\nSTARTED=a\n", 31);
	start_daemon();
	ck_assert(!has_apply_file());
	ends(apply("abc", NULL, 0, 0), "done", "");
	end_daemon(SIGTERM);
	/* It names kernels that are no longer this policy's, and one that is not there. */
	fake_write_file(fake, "/run/apply", "POLICY=p\nATOMIC=1\nSTARTED=a\nSTARTED=z\nEND=1\n",
			44);
	start_daemon();
	ck_assert(!has_apply_file());
	runs("a b c");
	stop_all();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("policy-dbus");
	TCase *tcase = tcase_create("policies");

	tcase_add_checked_fixture(tcase, make, unmake);
	tcase_set_timeout(tcase, 300);
	tcase_add_test(tcase, test_plan);
	tcase_add_test(tcase, test_refused);
	tcase_add_test(tcase, test_policies);
	tcase_add_test(tcase, test_apply);
	tcase_add_test(tcase, test_prune);
	tcase_add_test(tcase, test_keep);
	tcase_add_test(tcase, test_share_changes);
	tcase_add_test(tcase, test_crashed);
	tcase_add_test(tcase, test_one_fails);
	tcase_add_test(tcase, test_atomic);
	tcase_add_test(tcase, test_cancel);
	tcase_add_test(tcase, test_job);
	tcase_add_test(tcase, test_stopped_by_others);
	tcase_add_test(tcase, test_terminated);
	tcase_add_loop_test(tcase, test_killed_at_each_step, 0, 2);
	tcase_add_loop_test(tcase, test_each_step_fails, 0, 2);
	tcase_add_test(tcase, test_no_driver);
	tcase_add_test(tcase, test_damaged_file);
	suite_add_tcase(suite, tcase);
	return run_suite(suite);
}
