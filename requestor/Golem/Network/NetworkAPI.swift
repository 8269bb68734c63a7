import NIOHTTP1

public enum NetworkSubject: IdentifierSubject { public static let name = "network" }
public typealias NetworkID = Identifier<NetworkSubject>

/// Virtual private networks between the requestor and rented machines (`/net-api/v2/vpn`).
public struct NetworkAPI: Sendable {
    let client: GolemClient
    private let prefix = "/net-api/v2/vpn/net"

    init(client: GolemClient) { self.client = client }

    /// A network as the daemon knows it.
    public struct Network: Sendable, Equatable {
        public var id: NetworkID
        public var address: IPv4Address
        public var mask: IPv4Address

        init(_ json: JSON) throws {
            let fields = try Fields(json, "network")
            id = try fields.id("id")
            address = try fields.address("ip")
            mask = try fields.address("mask")
        }
    }

    /// A node of a network.
    public struct Node: Sendable, Equatable {
        public var id: NodeID
        public var address: IPv4Address

        init(_ json: JSON) throws {
            let fields = try Fields(json, "node of a network")
            id = try fields.id("id")
            address = try fields.address("ip")
        }
    }

    public func create(_ subnet: IPv4Subnet) async throws -> Network {
        try Network(
            await client.call(
                .POST, prefix,
                body: ["ip": .string(subnet.address.description), "mask": .string(subnet.mask.description)]))
    }

    public func networks() async throws -> [Network] {
        try await client.call(.GET, prefix).list("networks").map { try Network($0) }
    }

    /// Removes a network and ends its connections; one that is gone already is not an error.
    public func remove(_ id: NetworkID) async throws {
        do {
            _ = try await client.call(.DELETE, prefix + "/\(id)")
        } catch let error as GolemError where error.code == .notFound || error.code == .gone {
            return
        }
    }

    /// The requestor's own addresses.
    public func addresses(in id: NetworkID) async throws -> [IPv4Address] {
        try await client.call(.GET, prefix + "/\(id)/addresses").list("addresses").map {
            try Fields($0, "address").address("ip")
        }
    }

    public func add(address: IPv4Address, to id: NetworkID) async throws {
        _ = try await client.call(
            .POST, prefix + "/\(id)/addresses", body: ["ip": .string(address.description)])
    }

    public func nodes(of id: NetworkID) async throws -> [Node] {
        try await client.call(.GET, prefix + "/\(id)/nodes").list("nodes").map { try Node($0) }
    }

    /// Makes a node known to the network, and the network's other nodes to it. `conflict`: node or address are taken.
    public func add(node: NodeID, at address: IPv4Address, to id: NetworkID) async throws {
        _ = try await client.call(
            .POST, prefix + "/\(id)/nodes", body: ["id": JSON(node), "ip": .string(address.description)],
            wait: .seconds(15))
    }

    /// Takes a node out; one that is out already is not an error.
    public func remove(node: NodeID, from id: NetworkID) async throws {
        do {
            _ = try await client.call(.DELETE, prefix + "/\(id)/nodes/\(node)", wait: .seconds(15))
        } catch let error as GolemError where error.code == .notFound || error.code == .gone {
            return
        }
    }

    /// Where a connection to a port of a node is made, by WebSocket.
    func connectionPath(_ id: NetworkID, _ address: IPv4Address, _ port: Int) -> String {
        prefix + "/\(id)/tcp/\(address)/\(port)"
    }
}

extension GolemClient {
    public var network: NetworkAPI { NetworkAPI(client: self) }
}

extension Fields {
    /// An address, also with the length of its prefix behind it (`192.168.0.1/24`).
    func address(_ key: String) throws -> IPv4Address {
        guard let text = json[key]?.string, let address = IPv4Address(text.prefix { $0 != "/" }) else {
            throw bad(key, "an IPv4 address")
        }
        return address
    }
}
