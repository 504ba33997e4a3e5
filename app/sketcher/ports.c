/* SPDX-License-Identifier: BSD-3-Clause */
/* DPDK ports: one queue pair per worker as far as the port has them. */
#include "shell.h"

#include <rte_ethdev.h>
#include <stdio.h>
#include <string.h>

static bool complain(uint32_t i, const char *what, int error) {
    fprintf(stderr, "prophecy-sketcher: [port %u]: %s: %s\n", i, what, rte_strerror(-error));
    return false;
}

static bool setup_queues(struct app *app, uint32_t i, struct rte_eth_dev_info *info) {
    struct app_port *p = &app->ports[i];
    const struct config_driver *d = &app->cfg.ports[i].driver;
    uint16_t rx = d->rx_descriptors, tx = d->tx_descriptors;
    int socket = rte_eth_dev_socket_id(p->id);
    if (rx == 0)
        rx = info->default_rxportconf.ring_size != 0 ? info->default_rxportconf.ring_size : 1024;
    if (tx == 0)
        tx = info->default_txportconf.ring_size != 0 ? info->default_txportconf.ring_size : 1024;
    int rc = rte_eth_dev_adjust_nb_rx_tx_desc(p->id, &rx, &tx);
    if (rc != 0)
        return complain(i, "numbers of descriptors", rc);
    for (uint16_t q = 0; q < p->queues; q++) {
        rc = rte_eth_rx_queue_setup(p->id, q, rx, (unsigned int)socket, NULL, app->frames);
        if (rc != 0)
            return complain(i, "receive queue", rc);
        rc = rte_eth_tx_queue_setup(p->id, q, tx, (unsigned int)socket, NULL);
        if (rc != 0)
            return complain(i, "transmit queue", rc);
    }
    return true;
}

static bool start_port(struct app *app, uint32_t i) {
    struct app_port *p = &app->ports[i];
    const struct config_driver *d = &app->cfg.ports[i].driver;
    struct rte_eth_dev_info info;
    struct rte_eth_conf conf = {0};
    struct rte_ether_addr mac;
    int rc = rte_eth_dev_info_get(p->id, &info);
    if (rc != 0)
        return complain(i, "device information", rc);
    uint16_t most =
        info.max_rx_queues < info.max_tx_queues ? info.max_rx_queues : info.max_tx_queues;
    p->queues = (uint16_t)(app->cfg.workers < most ? app->cfg.workers : most);
    if (d->queues != 0 && d->queues < p->queues)
        p->queues = d->queues;
    if (p->queues > 1 && (info.flow_type_rss_offloads & RTE_ETH_RSS_IP) != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf =
            info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
    }
    rc = rte_eth_dev_configure(p->id, p->queues, p->queues, &conf);
    if (rc != 0)
        return complain(i, "configuration", rc);
    if (!setup_queues(app, i, &info))
        return false;
    rc = rte_eth_dev_start(p->id);
    if (rc != 0)
        return complain(i, "start", rc);
    rc = rte_eth_macaddr_get(p->id, &mac);
    if (rc != 0)
        return complain(i, "link address", rc);
    memcpy(p->mac, mac.addr_bytes, TCP_MAC_BYTES);
    if (d->promiscuous)
        (void)rte_eth_promiscuous_enable(p->id); // not every vdev knows it
    return true;
}

bool ports_start(struct app *app) {
    uint16_t n = rte_eth_dev_count_avail();
    uint32_t i = 0;
    if (n != app->cfg.port_count) {
        fprintf(stderr,
                "prophecy-sketcher: %s configures %u port(s), the EAL has %u; give it one per "
                "[port N], "
                "e.g. --vdev=net_af_xdp0,iface=IFACE (drivers-config/)\n",
                app->cfg.path, app->cfg.port_count, n);
        return false;
    }
    for (uint16_t id = 0; id < RTE_MAX_ETHPORTS; id++) {
        if (!rte_eth_dev_is_valid_port(id))
            continue;
        app->ports[i].id = id;
        if (!start_port(app, i++))
            return false;
    }
    return true;
}

void ports_stop(struct app *app) {
    for (uint32_t i = 0; i < app->cfg.port_count; i++) {
        (void)rte_eth_dev_stop(app->ports[i].id);
        (void)rte_eth_dev_close(app->ports[i].id);
    }
}
