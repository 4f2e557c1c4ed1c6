// SPDX-License-Identifier: MIT
//
// virtio-console with several ports, as virtio-serial-pci has them: consoles, and named ports for the guest's programs.
// See virtio/console.c.
#ifndef VIRTIO_CONSOLE_H
#define VIRTIO_CONSOLE_H

#include "io/chardev.h"
#include "virtio/virtio.h"

enum { CONSOLE_PORTS = 31, CONSOLE_NAME = 64, CONSOLE_BUFFER = 4096 };

struct console_port_config { // -device virtserialport, virtconsole
	unsigned device;     // index of its virtio-serial in the list of virtio devices
	bool console;
	unsigned nr;
	char name[CONSOLE_NAME], id[64];
	struct stream_config to; // STREAM_NONE: nothing stands behind it
};

struct console_port {
	struct virtio_console *owner;
	bool present, console;
	unsigned nr;
	char name[CONSOLE_NAME];
	struct stream_config to;
	struct chardev chardev;
	bool host_open, guest_open;
	bool told_open;         // what operators know of guest_open
	const struct console_port_config *config;
	unsigned tell;          // messages to the driver that wait for a buffer: enum in console.c
	uint64_t sent;          // bytes of the chain at the head of the send queue that are out already
	uint8_t in[CONSOLE_BUFFER]; // what has come and not yet found a buffer
	unsigned in_start, in_end;
};

struct virtio_console {
	struct virtio_device dev;
	struct {
		uint16_t columns, rows;
		uint32_t ports, emergency_write;
	} space;
	struct console_port port[CONSOLE_PORTS];
	struct iovec iov[VIRTQ_SEGMENTS_MAX];
};

void virtio_console_init(struct virtio_console *v, const struct mem *mem, unsigned ports);
void virtio_console_add(struct virtio_console *v, const struct console_port_config *c);
// The ports' host ends: when all else stands. 0, or a negative errno with a line in err.
int virtio_console_open(struct virtio_console *v, struct loop *l, const struct mux *mux, char *err, size_t errlen);
void virtio_console_drain(struct virtio_console *v, int until_fd); // at the end: what the guest has sent goes out

#endif
