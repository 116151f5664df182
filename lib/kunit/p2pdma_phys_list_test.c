// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of PCI peer-to-peer DMA: lists of physical memory.
 *
 * Lists are built and cut at random and compared with an array of their pieces,
 * and list mappings are compared with mappings of each piece by itself.
 * Fabrics have no IOMMU: selftests/p2pdma/iova.c tests lists with one.
 *
 *	p2pdma_phys_list.seed=N	seed of the first list, the next one has N + 1;
 *				every message names it.  A new one each time if
 *				not given.
 */

#include <linux/array_size.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/io.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/p2pdma-phys-list.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/sched.h>

#include "p2pdma_test.h"

static unsigned long long seed;
static unsigned int lists = IS_ENABLED(CONFIG_KASAN) ? 25 : 100;

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "p2pdma_phys_list."
module_param(seed, ullong, 0444);
MODULE_PARM_DESC(seed, "Seed of the first random list of physical memory");
module_param(lists, uint, 0444);
MODULE_PARM_DESC(lists, "How many random lists to cut, and to map");

KUNIT_DEFINE_ACTION_WRAPPER(free_list, p2pdma_phys_list_free,
			    struct p2pdma_phys_list *);

static struct p2pdma_phys_list *create(struct kunit *test)
{
	struct p2pdma_phys_list *list = p2pdma_phys_list_create(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, list);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_list,
							   list));
	return list;
}

static int add(struct p2pdma_phys_list *list, struct p2pdma_provider *provider,
	       phys_addr_t start, size_t size)
{
	return p2pdma_phys_list_add(list, provider, start, size, GFP_KERNEL);
}

static struct p2pdma_provider *provider_of(struct kunit *test,
					   struct pci_fabric *fabric,
					   const char *name)
{
	struct pci_dev *pdev = p2pdma_test_dev(test, fabric, name);
	struct p2pdma_provider *provider;

	KUNIT_ASSERT_EQ(test, 0, pcim_p2pdma_init(pdev));
	provider = pcim_p2pdma_provider(pdev, 0);
	KUNIT_ASSERT_NOT_NULL(test, provider);
	return provider;
}

static phys_addr_t bar_start(struct p2pdma_provider *provider)
{
	return pci_resource_start(to_pci_dev(provider->owner), 0);
}

#define RAM_SIZE	SZ_64K

static phys_addr_t get_ram(struct kunit *test)
{
	void *ram = kunit_kmalloc(test, RAM_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ram);
	return virt_to_phys(ram);
}

/* The host bridges of these root ports forward. */
#define LISTED		0x80862030

/* ---- Building ---- */

static unsigned int count_ranges(const struct p2pdma_phys_list *list)
{
	struct p2pdma_phys_iter iter = { };
	unsigned int count = 0;

	while (p2pdma_phys_list_next(list, &iter))
		count++;
	return count;
}

static void merge(struct kunit *test)
{
	struct p2pdma_phys_list *list = create(test);
	struct p2pdma_phys_iter iter = { };
	struct p2pdma_provider *b, *c;
	struct pci_fabric *fabric;
	phys_addr_t ram, bar;

	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	b = provider_of(test, fabric, "b");
	c = provider_of(test, fabric, "c");
	bar = bar_start(b);
	ram = get_ram(test);
	KUNIT_EXPECT_EQ(test, p2pdma_phys_list_size(list), 0);
	KUNIT_EXPECT_FALSE(test, p2pdma_phys_list_next(list, &iter));

	/* Adjacent memory is one range, whatever its alignment. */
	KUNIT_EXPECT_EQ(test, 0, add(list, NULL, ram + 1, 99));
	KUNIT_EXPECT_EQ(test, 0, add(list, NULL, ram + 100, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, count_ranges(list), 1);
	/* Memory after a hole, or in front, is another range. */
	KUNIT_EXPECT_EQ(test, 0, add(list, NULL, ram + 101 + PAGE_SIZE, 7));
	KUNIT_EXPECT_EQ(test, 0, add(list, NULL, ram, 1));
	KUNIT_EXPECT_EQ(test, count_ranges(list), 3);
	/* So is the same memory once more. */
	KUNIT_EXPECT_EQ(test, 0, add(list, NULL, ram, 1));
	KUNIT_EXPECT_EQ(test, count_ranges(list), 4);
	/* Memory of different providers isn't merged, even if adjacent. */
	KUNIT_EXPECT_EQ(test, 0, add(list, b, bar, SZ_1M));
	KUNIT_EXPECT_EQ(test, 0, add(list, c, bar + SZ_1M, SZ_1M));
	KUNIT_EXPECT_EQ(test, 0, add(list, b, bar + SZ_2M, SZ_64K));
	KUNIT_EXPECT_EQ(test, 0, add(list, b, bar + SZ_2M + SZ_64K, SZ_64K));
	KUNIT_EXPECT_EQ(test, count_ranges(list), 7);
	KUNIT_EXPECT_EQ(test, p2pdma_phys_list_size(list),
			99 + PAGE_SIZE + 7 + 1 + 1 + SZ_2M + SZ_128K);

	KUNIT_EXPECT_TRUE(test, p2pdma_phys_list_next(list, &iter));
	KUNIT_EXPECT_NULL(test, iter.provider);
	KUNIT_EXPECT_EQ(test, iter.start, ram + 1);
	KUNIT_EXPECT_EQ(test, iter.size, 99 + PAGE_SIZE);
	while (!iter.provider)
		KUNIT_ASSERT_TRUE(test, p2pdma_phys_list_next(list, &iter));
	KUNIT_EXPECT_PTR_EQ(test, iter.provider, b);
	KUNIT_EXPECT_EQ(test, iter.start, bar);
	KUNIT_EXPECT_EQ(test, iter.size, SZ_1M);
}

static void add_refused(struct kunit *test)
{
	struct p2pdma_phys_list *list = create(test);
	struct p2pdma_provider *b;
	struct pci_fabric *fabric;
	phys_addr_t ram, pages;
	struct pci_dev *c;

	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	b = provider_of(test, fabric, "b");
	c = p2pdma_test_provider(test, fabric, "c");
	pages = virt_to_phys(p2pdma_test_alloc(test, c, PAGE_SIZE));
	ram = get_ram(test);
	KUNIT_EXPECT_EQ(test, 0, add(list, NULL, ram, 16));

	KUNIT_EXPECT_EQ(test, -EINVAL, add(list, NULL, ram + 16, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, add(list, b, bar_start(b), 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, add(list, b, U64_MAX - 7, 16));
	KUNIT_EXPECT_EQ(test, -EINVAL, add(list, b, 16, SIZE_MAX));
	/* A BAR isn't system memory, with pages or without. */
	KUNIT_EXPECT_EQ(test, -EINVAL, add(list, NULL, bar_start(b), 16));
	KUNIT_EXPECT_EQ(test, -EINVAL, add(list, NULL, pages, 16));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			add(list, NULL, ram, bar_start(b) - ram + 1));

	KUNIT_EXPECT_EQ(test, count_ranges(list), 1);
	KUNIT_EXPECT_EQ(test, p2pdma_phys_list_size(list), 16);
	KUNIT_EXPECT_EQ(test, 0, add(list, NULL, ram + 16, 16));
	KUNIT_EXPECT_EQ(test, count_ranges(list), 1);
}

static void split_refused(struct kunit *test)
{
	struct p2pdma_phys_list *list = create(test);
	phys_addr_t ram = get_ram(test);
	size_t at[] = { 0, 16, 17, SIZE_MAX };
	int i;

	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EINVAL),
			    p2pdma_phys_list_split(list, 1, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0, add(list, NULL, ram, 16));
	for (i = 0; i < ARRAY_SIZE(at); i++)
		KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EINVAL),
				    p2pdma_phys_list_split(list, at[i],
							   GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, p2pdma_phys_list_size(list), 16);
}

/* ---- Random lists ---- */

#define MOST_RANGES	300
#define MOST_PIECES	8	/* in one addition */
#define PIECE		SZ_512
#define PROVIDERS	3

/*
 * A list, and its expected content: where each PIECE bytes of it are.
 * Memory number 0 is system memory, the others are the providers'.
 */
struct random_list {
	u64 seed;
	struct rnd_state state;
	struct p2pdma_provider *provider[1 + PROVIDERS];
	phys_addr_t base[1 + PROVIDERS];
	struct p2pdma_phys_list *list;
	unsigned int count;
	struct {
		u8 memory;
		phys_addr_t phys;
	} piece[MOST_RANGES * MOST_PIECES];
};

static u32 below(struct random_list *random, u32 n)
{
	return prandom_u32_state(&random->state) % n;
}

static struct random_list *random_create(struct kunit *test)
{
	struct random_list *random;

	random = kunit_kzalloc(test, sizeof(*random), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, random);
	random->seed = seed ?: get_random_u32();
	random->base[0] = get_ram(test);
	kunit_info(test, "p2pdma_phys_list.seed=%llu", random->seed);
	return random;
}

static void random_provider(struct random_list *random, int memory,
			    struct p2pdma_provider *provider)
{
	random->provider[memory] = provider;
	random->base[memory] = bar_start(provider);
}

/* Append up to @ranges of the first @memories kinds */
static void random_add(struct kunit *test, struct random_list *random,
		       u32 ranges, u32 memories)
{
	u32 i, memory = 0, at = 0, pieces;

	while (ranges--) {
		/* Often the same memory, and often the following address */
		if (!random->count || below(random, 100) < 30)
			memory = below(random, memories);
		if (below(random, 100) < 60)
			at = below(random, RAM_SIZE / PIECE);
		pieces = 1 + below(random, MOST_PIECES);
		pieces = min(pieces, RAM_SIZE / PIECE - at);
		if (!pieces)
			continue;

		KUNIT_ASSERT_EQ(test, 0, add(random->list,
					     random->provider[memory],
					     random->base[memory] + at * PIECE,
					     pieces * PIECE));
		for (i = 0; i < pieces; i++, at++, random->count++) {
			random->piece[random->count].memory = memory;
			random->piece[random->count].phys =
				random->base[memory] + at * PIECE;
		}
	}
}

/* @list has the pieces from @first to @end - 1, in as few ranges as possible */
static void expect_pieces(struct kunit *test, struct random_list *random,
			  const struct p2pdma_phys_list *list,
			  unsigned int first, unsigned int end)
{
	struct p2pdma_phys_iter iter = { }, last = { };
	unsigned int at = first, wrong = 0;
	size_t done;

	KUNIT_EXPECT_EQ_MSG(test, p2pdma_phys_list_size(list),
			    (end - first) * PIECE, "seed %llu", random->seed);
	while (p2pdma_phys_list_next(list, &iter)) {
		wrong += last.size && last.provider == iter.provider &&
			 last.start + last.size == iter.start;
		for (done = 0; done < iter.size; done += PIECE, at++) {
			KUNIT_ASSERT_LT_MSG(test, at, end, "seed %llu",
					    random->seed);
			wrong += random->provider[random->piece[at].memory] !=
				 iter.provider;
			wrong += random->piece[at].phys != iter.start + done;
		}
		last = iter;
	}
	KUNIT_EXPECT_EQ_MSG(test, at, end, "seed %llu", random->seed);
	KUNIT_EXPECT_EQ_MSG(test, wrong, 0, "seed %llu", random->seed);
}

static void random_restart(struct kunit *test, struct random_list *random,
			   unsigned int nth)
{
	if (nth)
		random->seed++;
	prandom_seed_state(&random->state, random->seed);
	random->list = create(test);
	random->count = 0;
}

static void random_split(struct kunit *test)
{
	static const char * const names[PROVIDERS] = { "a", "b", "c" };
	struct random_list *random = random_create(test);
	struct p2pdma_phys_list *rest;
	struct pci_fabric *fabric;
	unsigned int i, at, end;

	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	for (i = 0; i < PROVIDERS; i++)
		random_provider(random, i + 1,
				provider_of(test, fabric, names[i]));

	for (i = 0; i < lists; i++) {
		random_restart(test, random, i);
		random_add(test, random, 1 + below(random, MOST_RANGES),
			   1 + below(random, 1 + PROVIDERS));
		expect_pieces(test, random, random->list, 0, random->count);

		/* Cut pieces off its end */
		for (end = random->count; end > 1; end = at) {
			at = 1 + below(random, end - 1);
			rest = p2pdma_phys_list_split(random->list, at * PIECE,
						      GFP_KERNEL);
			KUNIT_ASSERT_NOT_ERR_OR_NULL(test, rest);
			expect_pieces(test, random, random->list, 0, at);
			expect_pieces(test, random, rest, at, end);
			p2pdma_phys_list_free(rest);
		}

		/* The rest of a cut list can be extended. */
		random->count = end;
		random_add(test, random, MOST_RANGES / 2, 1 + PROVIDERS);
		expect_pieces(test, random, random->list, 0, random->count);
		kunit_release_action(test, free_list, random->list);
	}
}

/* Both parts of a cut list can be extended. */
static void split_and_add(struct kunit *test)
{
	struct p2pdma_phys_list *list = create(test), *rest;
	phys_addr_t ram = get_ram(test);
	int i;

	for (i = 0; i < 8; i++)
		KUNIT_EXPECT_EQ(test, 0, add(list, NULL, ram + i * SZ_4K,
					     SZ_1K));
	/* Cut at the border of ranges and of allocations */
	rest = p2pdma_phys_list_split(list, 4 * SZ_1K, GFP_KERNEL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, rest);
	KUNIT_EXPECT_EQ(test, count_ranges(list), 4);
	KUNIT_EXPECT_EQ(test, count_ranges(rest), 4);
	KUNIT_EXPECT_EQ(test, 0, add(list, NULL, ram + 3 * SZ_4K + SZ_1K, 1));
	KUNIT_EXPECT_EQ(test, 0, add(rest, NULL, ram + 7 * SZ_4K + SZ_1K, 1));
	KUNIT_EXPECT_EQ(test, count_ranges(list), 4);
	KUNIT_EXPECT_EQ(test, count_ranges(rest), 4);
	KUNIT_EXPECT_EQ(test, 0, add(list, NULL, ram, 1));
	KUNIT_EXPECT_EQ(test, 0, add(rest, NULL, ram, 1));
	KUNIT_EXPECT_EQ(test, p2pdma_phys_list_size(list), SZ_4K + 2);
	KUNIT_EXPECT_EQ(test, p2pdma_phys_list_size(rest), SZ_4K + 2);
	p2pdma_phys_list_free(rest);
}

/* ---- Mapping ---- */

static void expect_not_mapped(struct kunit *test, struct device *dev,
			      struct p2pdma_phys_list *list,
			      enum dma_data_direction dir, int error)
{
	struct p2pdma_phys_mapping *mapping;

	mapping = p2pdma_phys_list_map(dev, list, dir, 0, GFP_KERNEL);
	KUNIT_EXPECT_PTR_EQ(test, mapping, ERR_PTR(error));
	if (!IS_ERR(mapping))
		p2pdma_phys_list_unmap(mapping);
}

/* DMA address of one piece; valid after unmapping, as there is no IOMMU */
static dma_addr_t naive(struct kunit *test, struct device *dev,
			struct random_list *random, unsigned int piece)
{
	struct p2pdma_provider *provider =
		random->provider[random->piece[piece].memory];
	phys_addr_t phys = random->piece[piece].phys;
	dma_addr_t addr;

	if (provider) {
		addr = dma_map_p2p(dev, provider, phys, PIECE,
				   DMA_BIDIRECTIONAL, 0);
		KUNIT_ASSERT_EQ(test, 0, dma_mapping_error(dev, addr));
		dma_unmap_p2p(dev, provider, addr, PIECE, DMA_BIDIRECTIONAL,
			      0);
	} else {
		/* No sync, as the list has this memory mapped, too. */
		addr = dma_map_page_attrs(dev, pfn_to_page(PHYS_PFN(phys)),
					  offset_in_page(phys), PIECE,
					  DMA_BIDIRECTIONAL,
					  DMA_ATTR_SKIP_CPU_SYNC);
		KUNIT_ASSERT_EQ(test, 0, dma_mapping_error(dev, addr));
		dma_unmap_page_attrs(dev, addr, PIECE, DMA_BIDIRECTIONAL,
				     DMA_ATTR_SKIP_CPU_SYNC);
	}
	return addr;
}

/* The mapping has the address of each piece, in as few ranges as possible */
static void expect_mapping(struct kunit *test, struct device *dev,
			   struct random_list *random,
			   const struct p2pdma_phys_mapping *mapping)
{
	unsigned int i, at = 0, ranges = 0, wrong = 0;
	dma_addr_t addr, next = 0;
	u8 last = 0;
	size_t done;

	for (i = 0; i < mapping->count; i++) {
		for (done = 0; done < mapping->ranges[i].size; done += PIECE) {
			KUNIT_ASSERT_LT_MSG(test, at, random->count,
					    "seed %llu", random->seed);
			addr = naive(test, dev, random, at);
			wrong += mapping->ranges[i].addr + done != addr;
			/* No range spans two kinds of memory. */
			ranges += !at || addr != next ||
				  random->piece[at].memory != last;
			last = random->piece[at++].memory;
			next = addr + PIECE;
		}
	}
	KUNIT_EXPECT_EQ_MSG(test, at, random->count, "seed %llu", random->seed);
	KUNIT_EXPECT_EQ_MSG(test, wrong, 0, "seed %llu", random->seed);
	KUNIT_EXPECT_EQ_MSG(test, mapping->count, ranges, "seed %llu",
			    random->seed);
}

struct offset_case {
	const char *name;
	struct p2pdma_test_change change[P2PDMA_TEST_CHANGES];
};

static const struct offset_case offset_cases[] = {
	{ "no_offset",
	  { { "host", P2PDMA_TEST_OFFSET, 0 },
	    { "rp1", P2PDMA_TEST_ID, LISTED },
	    { "rp2", P2PDMA_TEST_ID, LISTED } } },
	{ "offset",
	  { { "host", P2PDMA_TEST_OFFSET, SZ_8G },
	    { "rp1", P2PDMA_TEST_ID, LISTED },
	    { "rp2", P2PDMA_TEST_ID, LISTED } } },
};

KUNIT_ARRAY_PARAM_DESC(offset, offset_cases, name);

/* The client's own memory, a neighbour's, memory across root ports, and RAM */
static void random_map(struct kunit *test)
{
	static const char * const names[PROVIDERS] = { "a", "b", "e" };
	const struct offset_case *param = test->param_value;
	struct random_list *random = random_create(test);
	struct p2pdma_phys_mapping *mapping;
	struct p2pdma_provider *refused;
	struct pci_fabric *fabric;
	struct device *a;
	unsigned int i;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, param->change);
	a = &p2pdma_test_dev(test, fabric, "a")->dev;
	refused = provider_of(test, fabric, "g");
	for (i = 0; i < PROVIDERS; i++)
		random_provider(random, i + 1,
				provider_of(test, fabric, names[i]));

	for (i = 0; i < lists; i++) {
		random_restart(test, random, i);
		random_add(test, random, 1 + below(random, MOST_RANGES),
			   1 + below(random, 1 + PROVIDERS));
		/* DMA_API_DEBUG accepts overlaps only for DMA_TO_DEVICE. */
		mapping = p2pdma_phys_list_map(a, random->list, DMA_TO_DEVICE, 0,
					       GFP_KERNEL);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mapping);

		/* The mapping doesn't need the list. */
		KUNIT_EXPECT_EQ(test, 0, add(random->list, refused,
					     bar_start(refused), PIECE));
		expect_not_mapped(test, a, random->list, DMA_TO_DEVICE,
				  -EREMOTEIO);
		kunit_release_action(test, free_list, random->list);

		expect_mapping(test, a, random, mapping);
		p2pdma_phys_list_unmap(mapping);
	}
}

static void map_arguments(struct kunit *test)
{
	struct p2pdma_phys_list *list = create(test), *outside;
	struct p2pdma_provider *b;
	struct pci_fabric *fabric;
	phys_addr_t bar, ram;
	struct device *a;
	u64 *mask;

	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	a = &p2pdma_test_dev(test, fabric, "a")->dev;
	b = provider_of(test, fabric, "b");
	bar = bar_start(b);
	ram = get_ram(test);
	expect_not_mapped(test, a, list, DMA_TO_DEVICE, -EINVAL);
	KUNIT_EXPECT_EQ(test, 0, add(list, NULL, ram, SZ_4K));
	expect_not_mapped(test, a, list, DMA_NONE, -EINVAL);
	expect_not_mapped(test, a, list, DMA_NONE + 1, -EINVAL);
	expect_not_mapped(test, a, list, -1, -EINVAL);
	mask = a->dma_mask;
	a->dma_mask = NULL;
	expect_not_mapped(test, a, list, DMA_TO_DEVICE, -EINVAL);
	a->dma_mask = mask;

	KUNIT_EXPECT_EQ(test, 0, add(list, b, bar + SZ_4M - SZ_4K, SZ_4K));
	expect_not_mapped(test, a, list, DMA_NONE, -EINVAL);
	KUNIT_EXPECT_EQ(test, 0, add(list, b, bar + SZ_4M, 1));
	expect_not_mapped(test, a, list, DMA_TO_DEVICE, -EINVAL);
	outside = create(test);
	KUNIT_EXPECT_EQ(test, 0, add(outside, NULL, ram, SZ_4K));
	KUNIT_EXPECT_EQ(test, 0, add(outside, b, bar - 1, 2));
	expect_not_mapped(test, a, outside, DMA_TO_DEVICE, -EINVAL);
	p2pdma_phys_list_unmap(NULL);
	p2pdma_phys_list_free(NULL);
}

/* The root complex forwards only writes. */
static void map_direction(struct kunit *test)
{
	static const struct p2pdma_test_change change[] = {
		{ "rp1", P2PDMA_TEST_ID, 0x12345678 },
		{ "rp2", P2PDMA_TEST_ID, 0x12345678 }, { }
	};
	struct p2pdma_phys_list *list = create(test);
	struct p2pdma_phys_mapping *mapping;
	struct p2pdma_provider *e;
	struct pci_fabric *fabric;
	struct device *a;

	p2pdma_test_root(test, false, "1234:5678:w");
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, change);
	a = &p2pdma_test_dev(test, fabric, "a")->dev;
	e = provider_of(test, fabric, "e");
	KUNIT_EXPECT_EQ(test, 0, add(list, NULL, get_ram(test), SZ_4K));
	KUNIT_EXPECT_EQ(test, 0, add(list, e, bar_start(e), SZ_4K));

	expect_not_mapped(test, a, list, DMA_TO_DEVICE, -EREMOTEIO);
	expect_not_mapped(test, a, list, DMA_BIDIRECTIONAL, -EREMOTEIO);
	mapping = p2pdma_phys_list_map(a, list, DMA_FROM_DEVICE, 0, GFP_ATOMIC);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mapping);
	KUNIT_ASSERT_EQ(test, mapping->count, 2);
	KUNIT_EXPECT_EQ(test, mapping->ranges[1].addr, bar_start(e));
	p2pdma_phys_list_unmap(mapping);
}

/* DMA masks, and untrusted clients: limits of peer memory */
static void map_limits(struct kunit *test)
{
	struct p2pdma_phys_list *list = create(test), *ram;
	struct p2pdma_phys_mapping *mapping;
	struct p2pdma_provider *b;
	struct pci_fabric *fabric;
	struct pci_dev *a;

	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	b = provider_of(test, fabric, "b");
	ram = create(test);
	KUNIT_EXPECT_EQ(test, 0, add(ram, NULL, get_ram(test), SZ_4K));
	KUNIT_EXPECT_EQ(test, 0, add(list, NULL, get_ram(test), SZ_4K));
	KUNIT_EXPECT_EQ(test, 0, add(list, b, bar_start(b) + SZ_1M, SZ_4K));

	KUNIT_EXPECT_EQ(test, 0, dma_set_mask(&a->dev, bar_start(b) + SZ_1M +
					      SZ_4K - SZ_4G - 2));
	expect_not_mapped(test, &a->dev, list, DMA_TO_DEVICE, -EREMOTEIO);
	/* A mask of one address more covers all of it. */
	KUNIT_EXPECT_EQ(test, 0, dma_set_mask(&a->dev, bar_start(b) + SZ_1M +
					      SZ_4K - SZ_4G - 1));
	mapping = p2pdma_phys_list_map(&a->dev, list, DMA_TO_DEVICE, 0,
				       GFP_KERNEL);
	KUNIT_EXPECT_NOT_ERR_OR_NULL(test, mapping);
	if (!IS_ERR(mapping))
		p2pdma_phys_list_unmap(mapping);

	a->untrusted = true;
	pci_p2pdma_fabric_changed();
	expect_not_mapped(test, &a->dev, list, DMA_TO_DEVICE, -EREMOTEIO);
	mapping = p2pdma_phys_list_map(&a->dev, ram, DMA_TO_DEVICE, 0,
				       GFP_KERNEL);
	a->untrusted = false;
	pci_p2pdma_fabric_changed();
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mapping);
	p2pdma_phys_list_unmap(mapping);
}

/* ---- Without memory ---- */

#ifdef CONFIG_FAULT_INJECTION

#define FAIL_RANGES	16

/* Allocations that may wait don't fail here. */
#define FAIL_GFP	(GFP_NOWAIT | __GFP_NOWARN)

/* Build, cut and map a list, then free all of it: 0 or -ENOMEM */
static int build_and_map(struct kunit *test, struct device *dev,
			 struct p2pdma_provider *provider, phys_addr_t ram)
{
	struct p2pdma_phys_list *list, *rest = NULL;
	struct p2pdma_phys_mapping *mapping;
	size_t size;
	int i, ret;

	list = p2pdma_phys_list_create(FAIL_GFP);
	if (!list)
		return -ENOMEM;

	for (i = 0; i < FAIL_RANGES; i++) {
		size = p2pdma_phys_list_size(list);
		ret = p2pdma_phys_list_add(list, i % 8 ? NULL : provider,
					   (i % 8 ? ram : bar_start(provider)) +
					   i * SZ_2K, SZ_1K, FAIL_GFP);
		KUNIT_EXPECT_EQ(test, p2pdma_phys_list_size(list),
				ret ? size : size + SZ_1K);
		if (ret)
			goto out;
	}

	rest = p2pdma_phys_list_split(list, 10 * SZ_1K + 5, FAIL_GFP);
	if (IS_ERR(rest)) {
		ret = PTR_ERR(rest);
		rest = NULL;
		KUNIT_EXPECT_EQ(test, count_ranges(list), FAIL_RANGES);
		goto out;
	}

	mapping = p2pdma_phys_list_map(dev, list, DMA_TO_DEVICE, 0, FAIL_GFP);
	ret = PTR_ERR_OR_ZERO(mapping);
	if (!ret)
		p2pdma_phys_list_unmap(mapping);
out:
	p2pdma_phys_list_free(rest);
	p2pdma_phys_list_free(list);
	return ret;
}

static void no_memory(struct kunit *test)
{
	unsigned int nth = 0, left, refused = 0;
	struct p2pdma_provider *b;
	struct pci_fabric *fabric;
	phys_addr_t ram;
	struct device *a;
	dma_addr_t addr;
	int ret;

	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	a = &p2pdma_test_dev(test, fabric, "a")->dev;
	b = provider_of(test, fabric, "b");
	ram = get_ram(test);
	/* While this exists, CONFIG_DMA_API_DEBUG needs no memory. */
	addr = dma_map_p2p(a, b, bar_start(b), SZ_4K, DMA_TO_DEVICE, 0);
	KUNIT_ASSERT_EQ(test, 0, dma_mapping_error(a, addr));

	do {
		current->fail_nth = ++nth;
		ret = build_and_map(test, a, b, ram);
		left = current->fail_nth;
		current->fail_nth = 0;
		/* Memory checkers' own allocations may fail. */
		KUNIT_EXPECT_TRUE(test, !ret || (ret == -ENOMEM && !left));
		refused += !!ret;
	} while (!left && nth < 200);
	dma_unmap_p2p(a, b, addr, SZ_4K, DMA_TO_DEVICE, 0);
	KUNIT_EXPECT_GT(test, left, 0);
	/* Two lists, the part cut off, and the mapping; kvrealloc() retries. */
	KUNIT_EXPECT_GE(test, refused, 2 + 1 + 1);
}

#else

static void no_memory(struct kunit *test)
{
	kunit_skip(test, "no fault injection in this kernel");
}

#endif /* CONFIG_FAULT_INJECTION */

static struct kunit_case phys_list_cases[] = {
	KUNIT_CASE(merge),
	KUNIT_CASE(add_refused),
	KUNIT_CASE(split_refused),
	KUNIT_CASE(split_and_add),
	KUNIT_CASE(random_split),
	KUNIT_CASE_PARAM(random_map, offset_gen_params),
	KUNIT_CASE(map_arguments),
	KUNIT_CASE(map_direction),
	KUNIT_CASE(map_limits),
	KUNIT_CASE(no_memory),
	{ }
};

static struct kunit_suite phys_list_suite = {
	.name = "p2pdma_phys_list",
	.test_cases = phys_list_cases,
};

kunit_test_suites(&phys_list_suite);
