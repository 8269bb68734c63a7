/// An IPv4 address.
public struct IPv4Address: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var bits: UInt32

    public init(bits: UInt32) { self.bits = bits }

    /// Four numbers from 0 to 255 with points between them, nothing else.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bits: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                part.utf8.count == 1 || part.first != "0", let byte = UInt8(part)
            else { return nil }
            bits = bits << 8 | UInt32(byte)
        }
        self.bits = bits
    }

    public var description: String {
        [24, 16, 8, 0].map { String(bits >> UInt32($0) & 255) }.joined(separator: ".")
    }

    public static func < (left: IPv4Address, right: IPv4Address) -> Bool { left.bits < right.bits }
}

/// A range of IPv4 addresses, `192.168.0.0/24`.
public struct IPv4Subnet: Hashable, Sendable, CustomStringConvertible {
    public let address: IPv4Address
    /// 8 to 30 leading bits that all addresses share: at least two are left for hosts.
    public let prefix: Int

    /// `nil` for what is no range, or too small or large for a network of machines. Bits behind the prefix are cleared.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPv4Address(parts[0]), let prefix = Int(parts[1]),
            (8...30).contains(prefix), parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) })
        else { return nil }
        self.prefix = prefix
        self.address = IPv4Address(bits: address.bits & ~UInt32(0) << UInt32(32 - prefix))
    }

    public var mask: IPv4Address { IPv4Address(bits: ~UInt32(0) << UInt32(32 - prefix)) }
    public var description: String { "\(address)/\(prefix)" }

    /// Whether a host may have it: not the first of the range, which names the network, and not the last, which is for all.
    public func isHost(_ host: IPv4Address) -> Bool {
        host.bits & mask.bits == address.bits && host != address && host.bits != address.bits | ~mask.bits
    }

    /// The first address for a host that is not taken; `nil` when all are.
    func free(except taken: Set<IPv4Address>) -> IPv4Address? {
        var host = IPv4Address(bits: address.bits + 1)
        while isHost(host) {
            if !taken.contains(host) { return host }
            host.bits += 1
        }
        return nil
    }
}
