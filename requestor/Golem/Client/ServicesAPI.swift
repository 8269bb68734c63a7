import NIOHTTP1

/// Services on the daemon's bus (`/gsb-api/v1`): an address is bound by REST, requests come over a WebSocket.
public struct ServicesAPI: Sendable {
    let client: GolemClient
    private let prefix = "/gsb-api/v1/services"

    init(client: GolemClient) {
        self.client = client
    }

    /// Binds `address` (`/public/…`); requests for other components than those named fail at once.
    ///
    /// - Returns: the id under which the WebSocket is opened.
    public func bind(_ address: String, components: [String]) async throws -> String {
        do {
            return try await client.call(
                .POST, prefix, body: ["listen": ["on": .string(address), "components": JSON(components)]]
            ).text("services id", orUnder: "servicesId")
        } catch let error as GolemError where error.status == 400 && error.message.contains("Duplicated") {
            // Bound by us before, e.g. before the socket broke: the id is the address in base64url.
            return base64URL(Array(address.utf8))
        }
    }

    /// Unbinds; the socket ends. Doing so twice is fine.
    public func unbind(_ id: String) async throws {
        do {
            _ = try await client.call(.DELETE, prefix + "/" + escaped(id))
        } catch let error as GolemError where error.code == .notFound || error.code == .gone {
            return
        }
    }

    func socketPath(_ id: String) -> String { prefix + "/" + escaped(id) }
}

/// Base64 with the URL alphabet, without padding (RFC 4648, section 5).
package func base64URL(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
    var out: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
        let group = bytes[start..<min(start + 3, bytes.count)]
        var word: UInt32 = 0
        for byte in group { word = word << 8 | UInt32(byte) }
        word <<= UInt32(8 * (3 - group.count))
        for index in 0...group.count { out.append(alphabet[Int(word >> UInt32(18 - 6 * index) & 63)]) }
    }
    return String(decoding: out, as: UTF8.self)
}
