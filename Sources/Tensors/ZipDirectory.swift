/// What stands around the members of a zip file that is written from front to back: stored, without times, so that the same
/// members give the same bytes (APPNOTE.TXT of PKWARE).
package struct ZipDirectory {
    private var entries: [UInt8] = []
    private var members = 0
    /// Bytes of the file so far.
    private var position = 0

    package init() {}

    /// The header that is written before a member's content.
    ///
    /// - Parameters:
    ///   - name: different from those before.
    ///   - count: bytes of the content.
    ///   - checksum: CRC-32 of the content.
    /// - Throws: `tooLarge` where zip64 would be needed.
    package mutating func add(_ name: String, checksum: UInt32, count: Int) throws(DeMLError) -> [UInt8] {
        guard members < 0xfffe, name.utf8.count <= 0xffff, count < 0xf000_0000, position < 0xf000_0000 - count
        else {
            throw DeMLError(
                .tooLarge,
                "with \(name.quotedForMessage), of \(count) bytes, the zip file leaves what a plain one can hold: 4 GB",
                hint: "safetensors has no such limit")
        }
        // Version 2.0 is needed; names are UTF-8; stored; 1 January 1980, the first day there is.
        let fields =
            Self.little(20, 2) + Self.little(0x800, 2) + Self.little(0, 2) + Self.little(0, 2) + Self.little(0x21, 2)
            + Self.little(Int(checksum), 4) + Self.little(count, 4) + Self.little(count, 4)
            + Self.little(name.utf8.count, 2) + Self.little(0, 2)
        entries += Self.little(0x0201_4b50, 4) + Self.little(20, 2) + fields
        entries += Self.little(0, 2) + Self.little(0, 2) + Self.little(0, 2) + Self.little(0, 4)
        entries += Self.little(position, 4) + Array(name.utf8)
        members += 1
        let header = Self.little(0x0403_4b50, 4) + fields + Array(name.utf8)
        position += header.count + count
        return header
    }

    /// What is written behind the last member.
    package func end() -> [UInt8] {
        entries + Self.little(0x0605_4b50, 4) + Self.little(0, 4) + Self.little(members, 2) + Self.little(members, 2)
            + Self.little(entries.count, 4) + Self.little(position, 4) + Self.little(0, 2)
    }

    private static func little(_ value: Int, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
}
