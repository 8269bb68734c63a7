/// A zip file: what `.npz`, `.pth`, `.pt2` and `.keras` files are (APPNOTE.TXT of PKWARE), stored or deflated, with zip64.
///
/// The directory at the end and the header before each member must say the same: readers that believe one of them see
/// other files than those that believe the other.
package struct ZipArchive {
    package struct Member: Sendable {
        package let name: String
        let isDeflated: Bool
        let checksum: UInt32
        let storedCount: Int
        /// Bytes of the content.
        package let count: Int
        /// Where the stored bytes lie in the file.
        let range: Range<Int>
    }

    /// In the order of the directory.
    package let members: [Member]
    private let bytes: [UInt8]

    /// Reads the directory. Throws `malformed` and `truncated`.
    package init(_ bytes: [UInt8]) throws(DeMLError) {
        self.bytes = bytes
        let file = ByteReader(bytes[...])
        let end = try Self.endRecord(file)
        var count = try file.integer(end + 10, 2)
        var directory = try file.integer(end + 16, 4)
        let directoryCount = try file.integer(end + 12, 4)
        if count == 0xffff || directory == 0xffff_ffff || directoryCount == 0xffff_ffff {
            guard end >= 20, try file.integer(end - 20, 4) == 0x0706_4b50 else {
                throw DeMLError(.malformed, "the zip file has no zip64 locator")
            }
            let record = try file.integer(end - 12, 8)
            guard try file.integer(record, 4) == 0x0606_4b50 else {
                throw DeMLError(.malformed, "the zip64 end record is not where the locator says")
            }
            count = try file.integer(record + 32, 8)
            directory = try file.integer(record + 48, 8)
        }
        guard count <= bytes.count / 46 else {
            throw DeMLError(.malformed, "the zip file cannot hold the \(count) members it promises")
        }
        var members: [Member] = []
        var position = directory
        for _ in 0..<count {
            members.append(try Self.member(file, &position))
        }
        guard Set(members.map(\.name)).count == members.count else {
            throw DeMLError(.malformed, "two members of the zip file have one name")
        }
        // Members that share bytes are how a small zip file becomes a large bomb.
        let ranges = members.map(\.range).sorted { $0.lowerBound < $1.lowerBound }
        for (first, second) in zip(ranges, ranges.dropFirst()) where first.upperBound > second.lowerBound {
            throw DeMLError(.malformed, "members of the zip file overlap")
        }
        self.members = members
    }

    /// The content of a member, checked by its CRC-32.
    package func content(of member: Member, maximumBytes: Int) throws(DeMLError) -> ArraySlice<UInt8> {
        guard member.count <= maximumBytes else {
            throw DeMLError(.tooLarge, "\(member.count) bytes are more than the limit of \(maximumBytes)")
        }
        let stored = bytes[member.range]
        let content = member.isDeflated ? try Gzip.inflateRaw(stored, count: member.count)[...] : stored
        guard crc32(content) == member.checksum else {
            throw DeMLError(.malformed, "the content does not match its CRC-32")
        }
        return content
    }

    /// Whether a file begins as zip files do.
    package static func isZip(_ bytes: some Collection<UInt8>) -> Bool {
        bytes.starts(with: [0x50, 0x4b, 3, 4])
    }

    /// The position of the end-of-directory record: the last one, behind which only its comment lies.
    private static func endRecord(_ file: ByteReader) throws(DeMLError) -> Int {
        var position = file.count - 22
        let lowest = max(0, position - 0xffff)
        while position >= lowest {
            if try file.integer(position, 4) == 0x0605_4b50,
                try file.integer(position + 20, 2) == file.count - position - 22
            {
                return position
            }
            position -= 1
        }
        throw DeMLError(.truncated, "the zip file has no end record", hint: "is the file complete?")
    }

    /// The member whose directory entry is at `position`, which moves on to the next.
    private static func member(_ file: ByteReader, _ position: inout Int) throws(DeMLError) -> Member {
        guard try file.integer(position, 4) == 0x0201_4b50 else {
            throw DeMLError(.malformed, "the directory of the zip file is damaged at byte \(position)")
        }
        let flags = try file.integer(position + 8, 2)
        let method = try file.integer(position + 10, 2)
        let checksum = UInt32(try file.integer(position + 16, 4))
        var storedCount = try file.integer(position + 20, 4)
        var count = try file.integer(position + 24, 4)
        let nameCount = try file.integer(position + 28, 2)
        let extraCount = try file.integer(position + 30, 2)
        let commentCount = try file.integer(position + 32, 2)
        var local = try file.integer(position + 42, 4)
        guard let name = String(validating: try file.slice(position + 46, nameCount), as: UTF8.self) else {
            throw DeMLError(.malformed, "the name of a member of the zip file is not UTF-8")
        }
        let place = name.quotedForMessage

        // Extra field 1 holds, in this order, those of the three numbers that do not fit in 32 bits.
        var extra = position + 46 + nameCount
        let extraEnd = extra + extraCount
        while extra + 4 <= extraEnd {
            let size = try file.integer(extra + 2, 2)
            if try file.integer(extra, 2) == 1 {
                var field = extra + 4
                func wide(_ value: inout Int) throws(DeMLError) {
                    guard value == 0xffff_ffff else { return }
                    guard field + 8 <= extra + 4 + size else {
                        throw DeMLError(.malformed, "the zip64 field is too short", place: place)
                    }
                    value = try file.integer(field, 8)
                    field += 8
                }
                try wide(&count)
                try wide(&storedCount)
                try wide(&local)
            }
            extra += 4 + size
        }
        position = extraEnd + commentCount

        guard flags & 1 == 0 else { throw DeMLError(.malformed, "the member is encrypted", place: place) }
        guard method == 0 || method == 8 else {
            throw DeMLError(.malformed, "the compression method \(method) is neither stored nor deflate", place: place)
        }
        guard try file.integer(local, 4) == 0x0403_4b50 else {
            throw DeMLError(.malformed, "the member is not where the directory says", place: place)
        }
        try checkLocal(
            file, local, name: name, method: method, flags: flags, counts: (storedCount, count), checksum: checksum)
        let start = local + 30 + (try file.integer(local + 26, 2)) + (try file.integer(local + 28, 2))
        _ = try file.slice(start, storedCount)
        guard method == 8 || storedCount == count else {
            throw DeMLError(.malformed, "a stored member has two different sizes", place: place)
        }
        return Member(
            name: name, isDeflated: method == 8, checksum: checksum, storedCount: storedCount, count: count,
            range: start..<start + storedCount)
    }
}

extension ZipArchive {
    /// Refuses a header before a member that says something else than the directory.
    private static func checkLocal(
        _ file: ByteReader, _ local: Int, name: String, method: Int, flags: Int, counts: (stored: Int, plain: Int),
        checksum: UInt32
    ) throws(DeMLError) {
        let place = name.quotedForMessage
        let named = try file.slice(local + 30, try file.integer(local + 26, 2))
        guard named.elementsEqual(name.utf8), try file.integer(local + 8, 2) == method,
            try file.integer(local + 6, 2) & 1 == flags & 1
        else {
            throw DeMLError(.malformed, "the member's header and the directory of the zip file differ", place: place)
        }
        // With bit 3 the numbers stand behind the content; 0xffffffff: in the zip64 field.
        guard try file.integer(local + 6, 2) & 8 == 0 else { return }
        for (position, value) in [(14, Int(checksum)), (18, counts.stored), (22, counts.plain)] {
            let claimed = try file.integer(local + position, 4)
            guard claimed == value || position != 14 && claimed == 0xffff_ffff else {
                throw DeMLError(
                    .malformed, "the member's header and the directory of the zip file differ", place: place)
            }
        }
    }

    /// A zip file of members as they are given: stored, without times, so that the same members give the same bytes.
    /// Throws `tooLarge` where zip64 would be needed.
    package static func encode(_ members: [(name: String, content: [UInt8])]) throws(DeMLError) -> [UInt8] {
        var directory = ZipDirectory()
        var file: [UInt8] = []
        for (name, content) in members {
            file += try directory.add(name, checksum: crc32(content[...]), count: content.count) + content
        }
        return file + directory.end()
    }
}

/// Little-endian numbers and slices at checked positions.
package struct ByteReader {
    private let bytes: ArraySlice<UInt8>

    package init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
    }

    package var count: Int { bytes.count }

    /// Throws `truncated`.
    package func slice(_ position: Int, _ count: Int) throws(DeMLError) -> ArraySlice<UInt8> {
        guard position >= 0, count >= 0, position <= bytes.count, count <= bytes.count - position else {
            throw DeMLError(.truncated, "the file ends at byte \(bytes.count), before something it refers to")
        }
        let start = bytes.startIndex + position
        return bytes[start..<start + count]
    }

    /// An unsigned number of 1 to 8 bytes. Throws `truncated`.
    package func integer(_ position: Int, _ size: Int) throws(DeMLError) -> Int {
        let value = try slice(position, size).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        // Larger than any file; kept small enough that sums of a few of them do not overflow.
        return Int(min(value, 1 << 60))
    }
}
