/** What the demo's director is told: the founding example, and its IPv6 twin. Read by `vsnat run` like any other file. */

export const FOUNDING_CONFIGURATION = `services:
  - listen: tcp://202.103.106.5:80
    scheduler: wrr
    servers:
      - { address: "172.16.0.2:80", weight: 1 }
      - { address: "172.16.0.3:8000", weight: 2 }
  - listen: tcp://202.103.106.5:21
    servers: ["172.16.0.3:21"]
  - listen: "tcp://[2001:db8:5::5]:80"
    scheduler: wrr
    servers:
      - { address: "[fd00:16::2]:80", weight: 1 }
      - { address: "[fd00:16::3]:8000", weight: 2 }
`;
