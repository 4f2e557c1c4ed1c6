// SPDX-License-Identifier: MIT
//
// Virtio devices (Virtio 1.x, "Basic Facilities of a Virtio Device"): what a device is to the core, and what the core
// does for it. A device is a class (const: name, id, features, functions) and a struct whose first member is struct
// virtio_device. The core does the registers, the status, the features and the rings (virtio/queue.h); a transport
// (virtio/pci.h) shows the registers to the guest and carries interrupts and notifications.
//
// All that the guest controls is checked here, once, and copied before it is used: a device only ever sees chains
// whose segments lie in guest RAM. A guest that breaks the rules gets DEVICE_NEEDS_RESET, and its rings are left alone
// until it resets the device; nothing is printed but with -d guest_errors.
//
// Threads: `lock` guards the device and its rings. Register accesses (the server thread), kicks (its doorbell thread)
// and what the device's host end calls from its own threads all take it. The class's functions are called with it held,
// but for `look`.
//
// To make a device: fill a class; allocate its struct; virtio_init with the number of queues; set `config` if it has
// configuration space; hand it to a transport (virtio_pci_init, machine/virtio.c). See virtio/rng.c for the smallest.
#ifndef VIRTIO_VIRTIO_H
#define VIRTIO_VIRTIO_H

#include <pthread.h>

#include "mem/mem.h"
#include "virtio/queue.h"

enum virtio_id { VIRTIO_ID_NET = 1, VIRTIO_ID_BLOCK = 2, VIRTIO_ID_CONSOLE = 3, VIRTIO_ID_RNG = 4,
	VIRTIO_ID_BALLOON = 5, VIRTIO_ID_SCSI = 8, VIRTIO_ID_9P = 9 };

enum virtio_status { VIRTIO_ACKNOWLEDGE = 1, VIRTIO_DRIVER = 2, VIRTIO_DRIVER_OK = 4, VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 0x40, VIRTIO_FAILED = 0x80 };

// Feature bits of the core. The first three are offered with every device, the others when they are asked for.
enum virtio_feature { VIRTIO_F_INDIRECT = 28, VIRTIO_F_EVENT_IDX = 29, VIRTIO_F_VERSION_1 = 32,
	VIRTIO_F_RING_PACKED = 34, VIRTIO_F_IN_ORDER = 35 };

enum { VIRTIO_QUEUES_MAX = 64, VIRTIO_QUEUE_SIZE = 256, VIRTIO_CONFIG_MAX = 4096, VIRTIO_NO_VECTOR = 0xffff };
enum virtio_isr { VIRTIO_ISR_QUEUE = 1, VIRTIO_ISR_CONFIG = 2 };

struct virtio_device;

struct virtio_class {
	const char *name;
	enum virtio_id id;
	uint32_t pci_class; // 24 bits
	bool in_order;      // buffers come back in the order in which the driver made them available
	// The driver has put buffers into queue q (or may have): take them with virtq_pop until it says no. Never called
	// before DRIVER_OK, after a failure, or for a queue that is not enabled.
	void (*kick)(struct virtio_device *d, unsigned q);
	// The doorbell's thread looks on before it sleeps: do what can be done meanwhile, for which others would have to be
	// woken. `last`: it is about to sleep. Without the lock. May be NULL.
	void (*look)(struct virtio_device *d, bool last);
	// The driver is ready: d->features says what was agreed on. All enabled queues are kicked next. May be NULL.
	void (*started)(struct virtio_device *d);
	// Back to the state after power-on. Must not return before nothing that is still under way can touch guest memory;
	// it may wait on a condition with d->lock: pops and pushes do nothing meanwhile. May be NULL.
	void (*reset)(struct virtio_device *d);
	// The driver has written size bytes at off of the configuration space (within it). NULL: read-only.
	void (*config_write)(struct virtio_device *d, unsigned off, unsigned size, uint32_t value);
	void (*destroy)(struct virtio_device *d); // host ends; the struct itself is its maker's. May be NULL
};

struct virtio_device {
	const struct virtio_class *class;
	const struct mem *mem;
	pthread_mutex_t lock;
	const char *name;        // its id on the command line, or the class's name: for messages
	uint64_t offered;        // features; a device adds its own after virtio_init
	uint64_t features;       // as the driver has accepted them
	uint8_t status;          // enum virtio_status
	uint8_t generation;      // of the configuration space
	uint16_t queue_select;
	uint16_t config_vector;
	uint32_t offered_select, features_select;
	unsigned vectors;        // MSI-X messages that the transport has
	const void *config;      // configuration space: config_size bytes, little-endian, read as they are
	unsigned config_size;
	unsigned nqueues;
	struct virtq queue[VIRTIO_QUEUES_MAX];

	// Set by the transport.
	void (*interrupt)(struct virtio_device *d, uint16_t vector, enum virtio_isr isr);
	void (*clear_interrupts)(struct virtio_device *d);
	void *transport;
	// The device may write this guest memory from now on, or has written it: code that has been translated from
	// there is void. Both are said, as the guest may run code there meanwhile. May be NULL.
	void (*writes)(void *opaque, gpa_t gpa, uint64_t size);
	void *memory_opaque;
	void (*changed)(void *opaque); // memory_opaque: operators are to hear of it; may be NULL
	void (*complain)(void *opaque, const char *device, const char *what); // -d guest_errors; may be NULL
	void *complain_opaque;
};

void virtio_init(struct virtio_device *d, const struct virtio_class *class, const struct mem *mem, unsigned nqueues);
void virtio_destroy(struct virtio_device *d);

// Has this feature bit been agreed on?
static inline bool virtio_has(const struct virtio_device *d, unsigned feature)
{
	return d->features >> feature & 1;
}

// The guest has broken a rule: nothing moves until it resets the device.
void virtio_fail(struct virtio_device *d, const char *what);

// The device has changed its configuration space: tell the driver. With the lock held.
void virtio_config_changed(struct virtio_device *d);

// May the device use its queues?
static inline bool virtio_running(const struct virtio_device *d)
{
	return (d->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) == VIRTIO_DRIVER_OK;
}

// -- for transports, all without the lock held

// The common configuration's registers (Virtio 1.x, "Common configuration structure layout") and the device's.
uint64_t virtio_common_read(struct virtio_device *d, unsigned off, unsigned size);
void virtio_common_write(struct virtio_device *d, unsigned off, unsigned size, uint64_t value);
uint64_t virtio_config_read(struct virtio_device *d, unsigned off, unsigned size);
void virtio_config_write(struct virtio_device *d, unsigned off, unsigned size, uint64_t value);
void virtio_kick(struct virtio_device *d, uint64_t queues); // a set of queues has been notified
void virtio_reset(struct virtio_device *d);

#endif
