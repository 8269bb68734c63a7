import Tensors

/// The arrays of an `.npz` file as `np.savez` and `np.savez_compressed` write it: a zip of `.npy` files, stored or
/// deflated, with zip64 where it must be (APPNOTE.TXT of PKWARE; numpy.lib.format).
public struct NPZ {
    private let archive: ZipArchive
    private let maximumBytes: Int

    /// Reads the directory. `maximumBytes` limits each array.
    public init(_ bytes: [UInt8], maximumBytes: Int = 4 << 30) throws(DeMLError) {
        archive = try ZipArchive(bytes)
        self.maximumBytes = maximumBytes
    }

    /// The names of the arrays, in the order of the file.
    public var names: [String] {
        archive.members.map { $0.name.hasSuffix(".npy") ? String($0.name.dropLast(4)) : $0.name }
    }

    /// The array of the name; nil where there is none. Stored arrays are slices of the file, without a copy.
    public func tensor(_ name: String) throws(DeMLError) -> Tensor? {
        guard let member = archive.members.first(where: { $0.name == name + ".npy" }) else { return nil }
        do throws(DeMLError) {
            return try NPY.tensor(try archive.content(of: member, maximumBytes: maximumBytes))
        } catch {
            throw error.within(member.name.quotedForMessage)
        }
    }
}

/// The directory of a zip file.
struct ZipArchive {
    struct Member {
        let name: String
        let isDeflated: Bool
        let checksum: UInt32
        let storedCount: Int
        let count: Int
        /// Where the stored bytes lie in the file.
        let range: Range<Int>
    }

    let members: [Member]
    private let bytes: [UInt8]

    init(_ bytes: [UInt8]) throws(DeMLError) {
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
    func content(of member: Member, maximumBytes: Int) throws(DeMLError) -> ArraySlice<UInt8> {
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

/// One `.npy` file (numpy.lib.format): magic, version, the header as a Python dictionary, the elements.
enum NPY {
    private static let types: [String: DType] = [
        "|u1": .u8, "|i1": .i8, "<i2": .i16, "<i4": .i32, "<i8": .i64, "<f2": .f16, "<f4": .f32, "<f8": .f64,
        "|b1": .bool, "<u1": .u8, "<i1": .i8,
    ]

    static func tensor(_ bytes: ArraySlice<UInt8>) throws(DeMLError) -> Tensor {
        let file = ByteReader(bytes)
        guard bytes.starts(with: [0x93] + Array("NUMPY".utf8)) else {
            throw DeMLError(.malformed, "the array does not begin as an npy file")
        }
        let version = try file.integer(6, 1)
        guard (1...3).contains(version) else {
            throw DeMLError(.malformed, "the version \(version) of the npy format is unknown")
        }
        let sizeBytes = version == 1 ? 2 : 4
        let headerCount = try file.integer(8, sizeBytes)
        let text = try file.slice(8 + sizeBytes, headerCount)
        guard headerCount <= 1 << 16 else { throw DeMLError(.tooLarge, "the npy header has \(headerCount) bytes") }
        var parser = PythonDictionary(text)
        let header = try parser.parse()
        guard let dtype = types[header.descr] else {
            let isBigEndian = header.descr.hasPrefix(">")
            throw DeMLError(
                .dtype, "the numpy type \(header.descr.quotedForMessage) is not supported",
                hint: isBigEndian
                    ? "save the array in little-endian order" : "known are u1, i1, i2, i4, i8, f2, f4, f8 and b1")
        }
        guard !header.fortranOrder || header.shape.count < 2 else {
            throw DeMLError(
                .shape, "the array is in Fortran order", hint: "save np.ascontiguousarray(array), in C order")
        }
        let content = bytes.dropFirst(8 + sizeBytes + headerCount)
        return try Tensor(dtype: dtype, shape: header.shape, bytes: content)
    }
}

/// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`: a Python literal with these three keys and no other.
private struct PythonDictionary {
    struct Header {
        var descr = ""
        var fortranOrder = false
        var shape: [Int] = []
    }

    private let bytes: [UInt8]
    private var position = 0

    init(_ text: ArraySlice<UInt8>) {
        bytes = Array(text)
    }

    mutating func parse() throws(DeMLError) -> Header {
        var header = Header()
        var keys: Set<String> = []
        try expect("{")
        while !accept("}") {
            let key = try string()
            try expect(":")
            guard keys.insert(key).inserted else { throw malformed("the key \(key.quotedForMessage) appears twice") }
            switch key {
            case "descr":
                guard peek() == UInt8(ascii: "'") || peek() == UInt8(ascii: "\"") else {
                    throw DeMLError(.dtype, "the array holds records, not numbers")
                }
                header.descr = try string()
            case "fortran_order": header.fortranOrder = try boolean()
            case "shape": header.shape = try tuple()
            default: throw malformed("the key \(key.quotedForMessage) is unknown")
            }
            if !accept(",") {
                try expect("}")
                break
            }
        }
        skipSpace()
        guard position == bytes.count, keys.count == 3 else {
            throw malformed("it must have descr, fortran_order and shape")
        }
        return header
    }

    private mutating func string() throws(DeMLError) -> String {
        let quote: Unicode.Scalar = peek() == UInt8(ascii: "\"") ? "\"" : "'"
        try expect(quote)
        let start = position
        while position < bytes.count, bytes[position] != UInt8(ascii: quote) { position += 1 }
        guard position < bytes.count else { throw malformed("a string has no end") }
        position += 1
        return String(decoding: bytes[start..<position - 1], as: UTF8.self)
    }

    private mutating func boolean() throws(DeMLError) -> Bool {
        for (word, value) in [("False", false), ("True", true)] {
            skipSpace()
            if bytes[position...].starts(with: word.utf8) {
                position += word.utf8.count
                return value
            }
        }
        throw malformed("fortran_order is neither True nor False")
    }

    private mutating func tuple() throws(DeMLError) -> [Int] {
        var numbers: [Int] = []
        try expect("(")
        while !accept(")") {
            guard numbers.count < 64 else { throw malformed("the shape has too many dimensions") }
            skipSpace()
            let start = position
            while position < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[position]) {
                position += 1
            }
            guard let number = Int(String(decoding: bytes[start..<position], as: UTF8.self)) else {
                throw malformed("the shape holds something that is no number")
            }
            numbers.append(number)
            // Python 2 wrote long integers with an L.
            _ = accept("L")
            if !accept(",") {
                try expect(")")
                break
            }
        }
        return numbers
    }

    private mutating func peek() -> UInt8? {
        skipSpace()
        return position < bytes.count ? bytes[position] : nil
    }

    private mutating func accept(_ character: Unicode.Scalar) -> Bool {
        guard peek() == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ character: Unicode.Scalar) throws(DeMLError) {
        guard accept(character) else { throw malformed("\(character) is missing at byte \(position)") }
    }

    private mutating func skipSpace() {
        while position < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[position]) { position += 1 }
    }

    private func malformed(_ what: String) -> DeMLError {
        DeMLError(.malformed, "the npy header is not a dictionary that numpy writes: \(what)")
    }
}

/// Little-endian numbers and slices at checked positions.
private struct ByteReader {
    private let bytes: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
    }

    var count: Int { bytes.count }

    func slice(_ position: Int, _ count: Int) throws(DeMLError) -> ArraySlice<UInt8> {
        guard position >= 0, count >= 0, position <= bytes.count, count <= bytes.count - position else {
            throw DeMLError(.truncated, "the file ends at byte \(bytes.count), before something it refers to")
        }
        let start = bytes.startIndex + position
        return bytes[start..<start + count]
    }

    func integer(_ position: Int, _ size: Int) throws(DeMLError) -> Int {
        let value = try slice(position, size).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        // Larger than any file; kept small enough that sums of a few of them do not overflow.
        return Int(min(value, 1 << 60))
    }
}
