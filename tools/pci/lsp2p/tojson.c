// SPDX-License-Identifier: GPL-2.0
/*
 * JSON, as lsp2p.schema.json describes it.  A new field doesn't change the number
 * of the schema; another meaning does.
 */

#include <err.h>
#include <stdlib.h>
#include <json-c/json.h>

#include "lsp2p.h"

#define SCHEMA	1

/* Values that couldn't be made are memory that is used up. */
static struct json_object *made(struct json_object *value)
{
	if (!value)
		errx(EXIT_UNKNOWN, "not enough memory");
	return value;
}

void json_add(struct json_object *object, const char *key,
	      struct json_object *value)
{
	json_object_object_add(object, key, value);
}

void json_append(struct json_object *array, struct json_object *value)
{
	json_object_array_add(array, value);
}

struct json_object *json_array(struct json_object *object, const char *key)
{
	struct json_object *array = made(json_object_new_array());

	json_add(object, key, array);
	return array;
}

static struct json_object *text(const char *value)
{
	return made(json_object_new_string(value));
}

static struct json_object *number(int64_t value)
{
	return made(json_object_new_int64(value));
}

/* Addresses and sizes: some have bit 63 set. */
static struct json_object *number64(uint64_t value)
{
	return made(json_object_new_uint64(value));
}

static struct json_object *truth(bool value)
{
	return made(json_object_new_boolean(value));
}

static struct json_object *address(const struct device *device)
{
	char at[ADDRESS_SIZE];

	return text(device_address(device, at));
}

struct json_object *json_answer(const struct machine *machine,
				const char *command)
{
	static const char * const cores[] = {
		[CORE_UNKNOWN] = "unknown", [CORE_NONE] = "none",
		[CORE_STOCK] = "stock", [CORE_OURS] = "p2pdma",
	};
	struct json_object *answer = made(json_object_new_object());

	json_add(answer, "schema", number(SCHEMA));
	json_add(answer, "command", text(command));
	json_add(answer, "source", text(machine->source ? machine->source : ""));
	json_add(answer, "kernel", machine->kernel ? text(machine->kernel) : NULL);
	json_add(answer, "core", text(cores[machine->core]));
	json_add(answer, "guest", text(answer_word(machine->guest)));
	return answer;
}

/* ---- Devices ---- */

struct json_object *json_device(const struct device *device)
{
	struct json_object *object = made(json_object_new_object()), *nodes;
	char id[16];
	size_t i;

	json_add(object, "address", address(device));
	nodes = json_array(object, "nodes");
	for (i = 0; device->nodes && device->nodes[i]; i++)
		json_append(nodes, text(device->nodes[i]));
	json_add(object, "name", text(device_title(device)));
	snprintf(id, sizeof(id), "%04x:%04x", device_vendor(device),
		 device_id(device));
	json_add(object, "id", device_vendor(device) == 0xffff ? NULL : text(id));
	snprintf(id, sizeof(id), "%06x", device_class(device));
	json_add(object, "class", device_class(device) == 0xffffff ? NULL :
		 text(id));
	json_add(object, "driver", device->driver ? text(device->driver) : NULL);
	json_add(object, "iommu_group", device->iommu_group < 0 ? NULL :
		 number(device->iommu_group));
	return object;
}

static struct json_object *memory(const struct device *device)
{
	struct json_object *object = json_device(device), *bars, *bar;
	uint64_t window;
	unsigned int i;

	json_add(object, "registered", text(answer_word(device->registered)));
	json_add(object, "published", text(answer_word(device->published)));
	if (device->registered == YES) {
		json_add(object, "size", number64(device->p2pmem_size));
		json_add(object, "available",
			 number64(device->p2pmem_available));
	}
	json_add(object, "window", window_above(device, &window) ?
		 number64(window) : NULL);
	bars = json_array(object, "bars");
	for (i = 0; i < BARS; i++) {
		if (!bar_size(&device->bars[i]))
			continue;
		bar = made(json_object_new_object());
		json_add(bar, "bar", number(i));
		json_add(bar, "start", number64(device->bars[i].start));
		json_add(bar, "size", number64(bar_size(&device->bars[i])));
		json_add(bar, "prefetchable",
			 truth(device->bars[i].prefetchable));
		json_add(bar, "resizable_to",
			 bar_size_possible(&device->bars[i]) ?
			 number64(bar_size_possible(&device->bars[i])) : NULL);
		json_append(bars, bar);
	}
	return object;
}

int json_list(const struct machine *machine)
{
	struct json_object *answer = json_answer(machine, "list");
	struct json_object *devices = json_array(answer, "devices");
	size_t i;

	for (i = 0; i < machine->device_count; i++) {
		if (may_have_memory(machine->devices[i]))
			json_append(devices, memory(machine->devices[i]));
	}
	return json_print(answer);
}

/* ---- Routes ---- */

static struct json_object *port(const struct p2pdma_query_port *facts)
{
	static const char * const legs[] = {
		[P2PDMA_LEG_OWNER] = "memory", [P2PDMA_LEG_CLIENT] = "client",
		[P2PDMA_LEG_SHARED] = "shared",
	};
	struct json_object *object = made(json_object_new_object());
	const char *kind = port_kind(facts);
	char words[320], at[ADDRESS_SIZE];
	bool acs = facts->flags & P2PDMA_PORT_ACS;

	json_add(object, "address", text(address_text(&facts->at, at)));
	json_add(object, "leg", text(facts->leg < 3 ? legs[facts->leg] : "?"));
	json_add(object, "kind", kind ? text(kind) : NULL);
	json_add(object, "acs_known",
		 truth(!(facts->flags & P2PDMA_PORT_ACS_UNKNOWN)));
	json_add(object, "acs_cap", acs ? number(facts->acs_cap) : NULL);
	json_add(object, "acs_ctrl", acs ? number(facts->acs_ctrl) : NULL);
	acs_words(facts, words, sizeof(words));
	json_add(object, "acs", text(words));
	json_add(object, "turn", truth(facts->flags & P2PDMA_PORT_TURN));
	json_add(object, "decides", truth(facts->flags & P2PDMA_PORT_DECIDES));
	json_add(object, "blocking", truth(facts->flags & P2PDMA_PORT_BLOCKING));
	json_add(object, "hard_wired",
		 truth(facts->flags & P2PDMA_PORT_HARD_WIRED));
	json_add(object, "payload", facts->payload && facts->payload !=
		 P2PDMA_NO_LIMIT ? number(facts->payload) : NULL);
	json_add(object, "payload_max", facts->payload_max &&
		 facts->payload_max != P2PDMA_NO_LIMIT ?
		 number(facts->payload_max) : NULL);
	link_words(facts, words, sizeof(words));
	json_add(object, "link", text(words));
	return object;
}

struct json_object *json_verdict(const struct route *route)
{
	static const char * const ways[] = {
		[P2PDMA_ROUTE_NONE] = "none",
		[P2PDMA_ROUTE_BUS_ADDRESS] = "bus-address",
		[P2PDMA_ROUTE_HOST_BRIDGE] = "host-bridge",
	};
	struct json_object *object = made(json_object_new_object()), *array;
	unsigned int reasons[P2PDMA_REASON_MAX], count, i;

	json_add(object, "memory", address(route->owner));
	json_add(object, "client", address(route->client));
	json_add(object, "read", text(answer_word(route_reads(route))));
	json_add(object, "write", text(answer_word(route_writes(route))));
	json_add(object, "route", text(route->answer.map_type < 3 ?
				       ways[route->answer.map_type] : "none"));
	array = json_array(object, "reasons");
	count = reasons_in_order(route, reasons);
	for (i = 0; i < count; i++)
		json_append(array, text(reason_slug(reasons[i])));
	return object;
}

static void add_missing(struct json_object *object, const struct route *route)
{
	struct json_object *array = json_array(object, "missing"), *one;
	const struct route_missing *missing;
	const char *command;
	unsigned int i;

	for (i = 0; i < route->missing_count; i++) {
		missing = &route->missing[i];
		command = missing_command(route->machine, missing->what);
		one = made(json_object_new_object());
		json_add(one, "device", missing->device ?
			 address(missing->device) : NULL);
		json_add(one, "what", text(missing_words(missing->what)));
		json_add(one, "command", command ? text(command) : NULL);
		json_append(array, one);
	}
}

static void add_stock(struct json_object *object, const struct route *route)
{
	struct stock_route stock;
	struct json_object *one;

	if (route->machine->core == CORE_OURS)
		return;
	route_stock(route->machine, route->owner, route->client, route, &stock);
	one = made(json_object_new_object());
	json_add(one, "allows", text(stock.known != YES ? "unknown" :
		 stock.map_type == P2PDMA_ROUTE_NONE ? "no" : "yes"));
	json_add(one, "differs", text(stock.why));
	json_add(object, "stock", one);
}

struct json_object *json_route(const struct route *route)
{
	struct json_object *object = json_verdict(route), *array;
	char *parameter = fix_parameter(route);
	unsigned int i;

	json_add(object, "asked", truth(route->asked));
	json_add(object, "assumed", truth(route->assumed));
	json_add(object, "distance", route_reads(route) == YES ||
		 route_writes(route) == YES ?
		 number(route->answer.distance) : NULL);
	json_add(object, "fix", parameter ? text(parameter) : NULL);
	free(parameter);
	json_add(object, "ats", truth(route->answer.facts & P2PDMA_FACT_ATS));
	json_add(object, "iommu", text(iommu_words(route->client->iommu)));
	json_add(object, "dma_mask_bits", route->client->dma_mask_bits ?
		 number(route->client->dma_mask_bits) : NULL);
	json_add(object, "bars", number(route->answer.bars));
	json_add(object, "bars_beyond_mask",
		 number(route->answer.bars_beyond_mask));
	array = json_array(object, "ports");
	for (i = 0; i < route->port_count; i++)
		json_append(array, port(&route->ports[i]));
	add_missing(object, route);
	add_stock(object, route);
	array = json_array(object, "devices");
	json_append(array, json_device(route->owner));
	if (route->client != route->owner)
		json_append(array, json_device(route->client));
	return object;
}

int json_print(struct json_object *answer)
{
	puts(json_object_to_json_string_ext(answer, JSON_C_TO_STRING_PRETTY |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(answer);
	return EXIT_YES;
}
