// SPDX-License-Identifier: MIT
//
// What "info" shows of the machine: what it is made of, as the command line said, and its state.
#include <stdio.h>
#include <string.h>

#include "ctl/disks.h"
#include "ctl/hmp.h"

static void info_status(struct machine *m, struct hmp_text *t)
{
	const char *state = machine_run_state(m);

	if (machine_is_running(m) || !strcmp(state, "paused"))
		hmp_print(t, "VM status: %s\r\n", state);
	else
		hmp_print(t, "VM status: paused (%s)\r\n", state);
}

static void info_version(struct machine *m, struct hmp_text *t)
{
	hmp_print(t, "7.2.0 (ringer 0.1.0)\r\n");
}

static void info_kvm(struct machine *m, struct hmp_text *t)
{
	hmp_print(t, "kvm support: disabled\r\n");
}

static void info_name(struct machine *m, struct hmp_text *t)
{
	if (m->config->name)
		hmp_print(t, "%s\r\n", m->config->name);
}

static void info_cpus(struct machine *m, struct hmp_text *t)
{
	for (unsigned i = 0; i < m->config->vcpus; i++)
		hmp_print(t, "%c CPU #%u: thread_id=%d\r\n", i ? ' ' : '*', i, (int)m->monitor[i].pid);
}

static void info_tray(const struct disk_seen *d, struct hmp_text *t)
{
	if (d->removable)
		hmp_print(t, "    Removable device: %slocked, tray %s\r\n", d->locked ? "" : "not ",
			  d->open ? "open" : "closed");
}

static void info_block(struct machine *m, struct hmp_text *t)
{
	struct disk_seen d;

	for (unsigned i = 0; disk_see(m, i, &d); i++) {
		if (!d.image) {
			hmp_print(t, "%s: [not inserted]\r\n", disk_label(&d));
			info_tray(&d, t);
			continue;
		}
		hmp_print(t, "%s: %s (%s%s)\r\n", disk_label(&d), d.image->file, *d.image->format ? d.image->format : "raw",
			  d.image->readonly ? ", read-only" : "");
		if (*d.qdev)
			hmp_print(t, "    Attached to:      %s\r\n", d.qdev);
		info_tray(&d, t);
		hmp_print(t, "    Cache mode:       %s%s\r\n", d.image->writethrough ? "writethrough" : "writeback",
			  d.image->direct ? ", direct" : d.image->no_flush ? ", ignore flushes" : "");
	}
}

// As it has been since the image was opened.
static void info_blockstats(struct machine *m, struct hmp_text *t)
{
	struct disk_seen d;

	for (unsigned i = 0; disk_see(m, i, &d); i++) {
		const struct block_stats *s = d.block ? d.block->stats : (struct block_stats[BLOCK_OPS]){0};
		const struct block_stats *r = &s[BLOCK_READ], *w = &s[BLOCK_WRITE], *f = &s[BLOCK_FLUSH];

		hmp_print(t, "%s: rd_bytes=%llu wr_bytes=%llu rd_operations=%llu wr_operations=%llu flush_operations=%llu "
			  "wr_total_time_ns=%llu rd_total_time_ns=%llu flush_total_time_ns=%llu rd_merged=0 wr_merged=0\r\n",
			  disk_label(&d), (unsigned long long)r->bytes, (unsigned long long)w->bytes,
			  (unsigned long long)r->done, (unsigned long long)w->done, (unsigned long long)f->done,
			  (unsigned long long)w->ns, (unsigned long long)r->ns, (unsigned long long)f->ns);
	}
}

static void info_network(struct machine *m, struct hmp_text *t)
{
	for (unsigned i = 0; i < m->config->nics; i++) {
		const struct nic_config *n = &m->config->nic[i];

		if (n->gone)
			continue;
		hmp_print(t, "%s.%u: index=0,type=nic,macaddr=%02x:%02x:%02x:%02x:%02x:%02x\r\n",
			  n->model == NIC_E1000 ? "e1000" : "virtio-net-pci", i, n->mac[0], n->mac[1], n->mac[2],
			  n->mac[3], n->mac[4], n->mac[5]);
		if (n->net >= 0)
			hmp_print(t, " \\ %s: index=0,type=%s\r\n", m->config->net[n->net].id,
				  net_kind_class(m->config->net[n->net].kind)->name);
	}
}

static void info_chardev(struct machine *m, struct hmp_text *t)
{
	for (unsigned i = 0; i < SERIAL_PORTS; i++) {
		const struct stream_config *s = &m->config->serial[i];

		if (s->kind != STREAM_NONE)
			hmp_print(t, "serial%u: filename=%s\r\n", i, stream_describe(s));
	}
	for (unsigned i = 0; i < m->config->ports; i++)
		hmp_print(t, "%s: filename=%s\r\n", m->config->port[i].name, stream_describe(&m->config->port[i].to));
}

static void info_pci(struct machine *m, struct hmp_text *t)
{
	for (unsigned i = 0; i < PCI_APP_MAX; i++) {
		const struct pci_app *p = &m->shared->pci[i];

		if (!p->present || p->mmio)
			continue;
		hmp_print(t, "  Bus  0, device %3u, function %u:\r\n    Class %04x: PCI device %04x:%04x\r\n"
			  "      PCI subsystem %04x:%04x\r\n      id \"%s\"\r\n", p->devfn >> 3, p->devfn & 7u,
			  p->class_code >> 8, p->vendor, p->device, p->subsystem_vendor, p->subsystem,
			  m->virtio.pci[i].device && m->virtio.pci[i].device->name ? m->virtio.pci[i].device->name : "");
	}
}

static void info_mtree(struct machine *m, struct hmp_text *t)
{
	const struct mem *mem = &m->shared->config.mem;

	hmp_print(t, "address-space: memory\r\n  %016llx-%016llx (prio 0, ram): ram-below-4g\r\n", 0ull,
		  (unsigned long long)mem->low_end - 1);
	if (mem->rom_start < MEM_HIGH_START)
		hmp_print(t, "  %016llx-%016llx (prio 0, rom): bios\r\n", (unsigned long long)mem->rom_start,
			  (unsigned long long)MEM_HIGH_START - 1);
	if (mem->high_end > MEM_HIGH_START)
		hmp_print(t, "  %016llx-%016llx (prio 0, ram): ram-above-4g\r\n", (unsigned long long)MEM_HIGH_START,
			  (unsigned long long)mem->high_end - 1);
}

// The bus with what is on it; of disks their images.
static void info_qtree(struct machine *m, struct hmp_text *t)
{
	struct disk_seen d;

	hmp_print(t, "bus: main-system-bus\r\n  type System\r\n");
	for (unsigned i = 0; i < m->virtio.count; i++) {
		const struct pci_app *p = &m->shared->pci[i];
		const struct virtio_device *v = m->virtio.pci[i].device;

		if (!v)
			continue;
		hmp_print(t, "  dev: %s%s, id \"%s\"\r\n", v->class->name, p->mmio ? "-device" : "-pci",
			  v->name ? v->name : "");
		if (!p->mmio)
			hmp_print(t, "    addr = %02x.%x\r\n    class = %04x, pci id %04x:%04x\r\n", p->devfn >> 3, p->devfn & 7u,
				  p->class_code >> 8, p->vendor, p->device);
	}
	for (unsigned i = 0; disk_see(m, i, &d); i++)
		hmp_print(t, "  drive: %s\r\n    file = \"%s\"\r\n", disk_label(&d), d.image ? d.image->file : "");
}

static void info_balloon(struct machine *m, struct hmp_text *t)
{
	uint64_t bytes;

	if (balloon_memory(m, &bytes))
		hmp_print(t, "balloon: actual=%llu\r\n", (unsigned long long)bytes >> 20);
	else
		hmp_print(t, "Error: No balloon device has been activated\r\n");
}

const struct hmp_info hmp_infos[] = {
	{ "balloon", "what memory the guest has without it", info_balloon },
	{ "block", "disks", info_block }, { "blockstats", "what was read and written", info_blockstats },
	 { "chardev", "serial ports and consoles", info_chardev },
	{ "cpus", "processors", info_cpus }, { "kvm", "whether KVM runs the guest", info_kvm },
	{ "mem", "what the guest has mapped", hmp_mappings }, { "mtree", "memory", info_mtree },
	{ "name", "-name", info_name }, { "network", "network cards", info_network },
	{ "pci", "virtio functions", info_pci }, { "registers", "of the processor", hmp_registers },
	{ "qtree", "devices", info_qtree },
	{ "status", "does the machine run", info_status }, { "tlb", "the guest's pages", hmp_pages },
	{ "version", "ringer's", info_version },
	{ NULL, NULL, NULL },
};
