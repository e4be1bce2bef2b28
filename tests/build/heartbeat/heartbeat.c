// SPDX-License-Identifier: GPL-2.0-or-later
/* An out-of-tree driver for the tests of `plugfest build`: a network device whose carrier is on while it is up. */

#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/version.h>

#include "heartbeat.h"

static struct net_device *heartbeat;

static int heartbeat_open(struct net_device *dev)
{
	netif_carrier_on(dev);
	netif_start_queue(dev);
	return 0;
}

static int heartbeat_stop(struct net_device *dev)
{
	netif_stop_queue(dev);
	netif_carrier_off(dev);
	return 0;
}

static netdev_tx_t heartbeat_xmit(struct sk_buff *skb, struct net_device *dev)
{
	dev->stats.tx_packets++;
	dev->stats.tx_bytes += skb->len;
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops heartbeat_ops = {
	.ndo_open = heartbeat_open,
	.ndo_stop = heartbeat_stop,
	.ndo_start_xmit = heartbeat_xmit,
};

static int __init heartbeat_init(void)
{
	int err;

	heartbeat = alloc_etherdev(0);
	if (!heartbeat)
		return -ENOMEM;
	heartbeat->netdev_ops = &heartbeat_ops;
	eth_hw_addr_random(heartbeat);
	netif_carrier_off(heartbeat);
	err = register_netdev(heartbeat);
	if (err)
		free_netdev(heartbeat);
	return err;
}
module_init(heartbeat_init);

static void __exit heartbeat_exit(void)
{
	unregister_netdev(heartbeat);
	free_netdev(heartbeat);
}
module_exit(heartbeat_exit);

MODULE_DESCRIPTION("plugfest's out-of-tree driver");
MODULE_LICENSE("GPL");
MODULE_VERSION(HEARTBEAT_VERSION);
