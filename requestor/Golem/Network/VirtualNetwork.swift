/// What a machine's `deploy` is told of a network it takes part in.
public struct NetworkDeployment: Sendable, Equatable {
    public var network: NetworkID
    public var subnet: IPv4Subnet
    /// The machine's own.
    public var address: IPv4Address
    /// All that take part.
    public var nodes: [IPv4Address: NodeID]

    var json: JSON {
        [
            "id": JSON(network), "ip": .string(subnet.address.description), "mask": .string(subnet.mask.description),
            "nodeIp": .string(address.description),
            "nodes": .object(
                Dictionary(nodes.map { ($0.key.description, JSON($0.value)) }, uniquingKeysWith: { first, _ in first })),
        ]
    }
}

/// A private network of rented machines and this computer, in which each has an address.
///
/// ```swift
/// try await client.withNetwork { network in
///     plan.virtualNetwork = network
///     try await Requestor(client: client, plan: plan).run { pool in
///         let machine = try await pool.next()
///         try await network.withTCPProxy(to: machine, port: 80) { port in … http://127.0.0.1:\(port) … }
///     }
/// }
/// ```
/// Needs providers whose runtime has the capability `vpn`; a plan with a network asks for it. A provider takes part once: a
/// second machine of the same node cannot be prepared while the first one is there.
public actor VirtualNetwork {
    public nonisolated let id: NetworkID
    public nonisolated let subnet: IPv4Subnet
    /// Of this computer.
    public nonisolated let ownAddress: IPv4Address
    nonisolated let client: GolemClient
    private var members: [NodeID: IPv4Address]
    /// Addresses of nodes that are being added.
    private var reserved: Set<IPv4Address> = []

    package init(client: GolemClient, id: NetworkID, subnet: IPv4Subnet, own: NodeID, address: IPv4Address) {
        self.client = client
        self.id = id
        self.subnet = subnet
        ownAddress = address
        members = [own: address]
    }

    /// All that take part, this computer too.
    public var nodes: [NodeID: IPv4Address] { members }

    /// The address of a node; `nil` for one that takes no part.
    public func address(of node: NodeID) -> IPv4Address? { members[node] }

    /// Takes a node in. Throws `conflict` for one that takes part already or an address that is taken, `usage` for an
    /// address that no host of the network may have, `refused` when all are taken.
    @discardableResult
    public func add(_ node: NodeID, at wanted: IPv4Address? = nil) async throws -> IPv4Address {
        guard members[node] == nil else {
            throw GolemError(
                .conflict, "node \(node) takes part in the network already", place: "network \(subnet)",
                hint: "one machine of a node at a time")
        }
        let taken = Set(members.values).union(reserved)
        if let wanted {
            guard subnet.isHost(wanted) else {
                throw GolemError(.usage, "\(wanted) is no host's address in the network \(subnet)")
            }
            guard !taken.contains(wanted) else {
                throw GolemError(.conflict, "\(wanted) is taken", place: "network \(subnet)")
            }
        }
        guard let address = wanted ?? subnet.free(except: taken) else {
            throw GolemError(
                .refused, "all addresses of the network are taken", place: "network \(subnet)",
                hint: "make it with a shorter prefix")
        }
        reserved.insert(address)
        defer { reserved.remove(address) }
        try await client.network.add(node: node, at: address, to: id)
        members[node] = address
        return address
    }

    /// Takes a node out; one that is out already is not an error.
    public func remove(_ node: NodeID) async throws {
        guard members[node] != nil, members[node] != ownAddress else { return }
        try await client.network.remove(node: node, from: id)
        members[node] = nil
    }

    /// What `deploy` in a machine of this node is told. `nil` for one that takes no part.
    public func deployment(of node: NodeID) -> NetworkDeployment? {
        members[node].map {
            NetworkDeployment(
                network: id, subnet: subnet, address: $0,
                nodes: Dictionary(members.map { ($0.value, $0.key) }, uniquingKeysWith: { first, _ in first }))
        }
    }
}

extension GolemClient {
    /// Makes a private network for the time of `body`.
    ///
    /// - Parameter subnet: its addresses, `a.b.c.d/prefix`.
    /// - Throws: `usage` for what is no subnet, `unsupported` or `notFound` from a daemon without private networks.
    public func withNetwork<Result: Sendable>(
        _ subnet: String = "192.168.0.0/24", _ body: @Sendable @escaping (VirtualNetwork) async throws -> Result
    ) async throws -> Result {
        guard let range = IPv4Subnet(subnet) else {
            throw GolemError(
                .usage, "`\(subnet)` is no range of IPv4 addresses",
                hint: "it has the form 192.168.0.0/24, with 8 to 30")
        }
        let own = try await me().nodeID
        let created = try await network.create(range)
        let outcome: Swift.Result<Result, any Error>
        do {
            // The daemon gives us the first address by itself, older ones give none.
            var address = try await network.addresses(in: created.id).first { range.isHost($0) }
            if address == nil, let first = range.free(except: []) {
                try await network.add(address: first, to: created.id)
                address = first
            }
            guard let address else { throw GolemError(.malformed, "the network has no address for us") }
            outcome = .success(
                try await body(
                    VirtualNetwork(client: self, id: created.id, subnet: range, own: own, address: address)))
        } catch {
            outcome = .failure(error)
        }
        await shielded { try? await self.network.remove(created.id) }
        return try outcome.get()
    }
}

extension RentalPlan {
    /// The commands that make a machine of this node ready; takes it into the plan's network.
    func preparation(for node: NodeID) async throws -> [Command] {
        guard let virtualNetwork else { return preparation }
        try await virtualNetwork.add(node)
        guard let deployment = await virtualNetwork.deployment(of: node) else { return preparation }
        return preparation.map { $0 == .deploy ? .deployWith(networks: [deployment]) : $0 }
    }
}
