/// The header of a safetensors file: what it says about each tensor, checked against the format's rules
/// (https://github.com/huggingface/safetensors, "Format").
struct SafetensorsHeader {
    struct Entry {
        let name: String
        let dtype: DType
        let shape: [Int]
        /// Bytes of the data section.
        let range: Range<Int>
    }

    /// In the order of the header.
    let entries: [Entry]
    let metadata: [String: String]
    /// Size of the data section that the entries promise.
    let dataBytes: Int

    /// The length of the header out of the first eight bytes of a file.
    static func length(_ prefix: some Sequence<UInt8>, maximum: Int) throws(DeMLError) -> Int {
        let bytes = Array(prefix)
        guard bytes.count == 8 else {
            throw DeMLError(.truncated, "a safetensors file begins with eight bytes, but there are \(bytes.count)")
        }
        let length = bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard length >= 2 else {
            throw DeMLError(.malformed, "the header length \(length) is too small for a safetensors header")
        }
        guard length <= UInt64(maximum) else {
            throw DeMLError(
                .tooLarge, "the header length \(length) is beyond the limit of \(maximum) bytes",
                hint: "is it a safetensors file?")
        }
        return Int(length)
    }

    /// Refuses a header that ends behind the end of its file.
    static func check(length: Int, fileBytes: Int) throws(DeMLError) {
        guard length <= fileBytes - 8 else {
            throw DeMLError(
                .truncated, "the header length \(length) is beyond the end of the file of \(fileBytes) bytes")
        }
    }

    /// Refuses a data section that has not the size the entries promise.
    func check(present: Int) throws(DeMLError) {
        guard present >= dataBytes else {
            throw DeMLError(.truncated, "the tensors need \(dataBytes) bytes, but the file has \(present)")
        }
        guard present == dataBytes else {
            throw DeMLError(.malformed, "\(present - dataBytes) bytes follow the last tensor")
        }
    }

    /// Parses and checks a header: known types, shapes that fit their bytes, no duplicate names, no overlap, no gap.
    init(parsing json: UnsafeRawBufferPointer) throws(DeMLError) {
        guard json.first == UInt8(ascii: "{") else {
            throw DeMLError(.malformed, "the header does not begin with {", hint: "is it a safetensors file?")
        }
        var parser = HeaderParser(bytes: json)
        var entries: [Entry] = []
        var metadata: [String: String]?
        var names: Set<String> = []
        try parser.object { (parser, key) throws(DeMLError) in
            guard names.insert(key).inserted else {
                throw DeMLError(.malformed, "the name \(key.quotedForMessage) appears twice in the header")
            }
            if key == "__metadata__" {
                metadata = try parser.stringDictionary()
            } else {
                do throws(DeMLError) {
                    entries.append(try Self.entry(&parser, name: key))
                } catch {
                    throw error.at("tensor \(key.quotedForMessage)")
                }
            }
        }
        try parser.end()

        var position = 0
        for entry in entries.sorted(by: {
            ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
        }) {
            guard entry.range.lowerBound == position else {
                let what = entry.range.lowerBound < position ? "overlap those before" : "leave a gap after those before"
                throw DeMLError(
                    .malformed,
                    "its bytes \(entry.range.lowerBound)..<\(entry.range.upperBound) \(what), which end at \(position)",
                    place: "tensor \(entry.name.quotedForMessage)")
            }
            position = entry.range.upperBound
        }
        self.entries = entries
        self.metadata = metadata ?? [:]
        dataBytes = position
    }

    private static func entry(_ parser: inout HeaderParser, name: String) throws(DeMLError) -> Entry {
        var dtypeName: String?
        var shape: [Int]?
        var offsets: [Int]?
        var keys: Set<String> = []
        try parser.object { (parser, key) throws(DeMLError) in
            guard keys.insert(key).inserted else {
                throw DeMLError(.malformed, "the key \(key.quotedForMessage) appears twice")
            }
            switch key {
            case "dtype": dtypeName = try parser.string()
            case "shape": shape = try parser.sizes(maximumCount: 64)
            case "data_offsets": offsets = try parser.sizes(maximumCount: 2)
            default: try parser.skipValue()
            }
        }
        guard let dtypeName, let shape, let offsets else {
            let absent = dtypeName == nil ? "dtype" : shape == nil ? "shape" : "data_offsets"
            throw DeMLError(.malformed, "the header entry has no \(absent)")
        }
        guard let dtype = DType(rawValue: dtypeName) else {
            let known = DType.allCases.map(\.rawValue).joined(separator: ", ")
            throw DeMLError(
                .dtype, "the type \(dtypeName.quotedForMessage) is not supported", hint: "known are \(known)")
        }
        guard offsets.count == 2, offsets[0] <= offsets[1] else {
            throw DeMLError(.malformed, "data_offsets \(offsets) are not a begin and an end")
        }
        let size = elementCount(of: shape)?.multipliedReportingOverflow(by: dtype.byteCount)
        guard let size, !size.overflow, size.partialValue == offsets[1] - offsets[0] else {
            let given = offsets[1] - offsets[0]
            throw DeMLError(
                .malformed, "\(dtype.rawValue) of shape \(shape) does not take the \(given) bytes of data_offsets")
        }
        return Entry(name: name, dtype: dtype, shape: shape, range: offsets[0]..<offsets[1])
    }
}

/// The part of JSON that headers use, read strictly: RFC 8259 without tolerance, values nested at most 32 deep.
/// Foundation's parser is not used, because it keeps one of two equal keys without a word.
struct HeaderParser {
    private let bytes: UnsafeRawBufferPointer
    private var position = 0
    private static let maximumDepth = 32

    init(bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    /// An object; `member` must read the value of each key.
    mutating func object(
        _ member: (inout HeaderParser, String) throws(DeMLError) -> Void
    ) throws(DeMLError) {
        try expect("{")
        if accept("}") { return }
        repeat {
            let key = try string()
            try expect(":")
            try member(&self, key)
        } while accept(",")
        try expect("}")
    }

    mutating func stringDictionary() throws(DeMLError) -> [String: String] {
        var dictionary: [String: String] = [:]
        try object { (parser, key) throws(DeMLError) in
            guard dictionary.updateValue(try parser.string(), forKey: key) == nil else {
                throw DeMLError(.malformed, "the key \(key.quotedForMessage) appears twice in __metadata__")
            }
        }
        return dictionary
    }

    /// An array of integers >= 0.
    mutating func sizes(maximumCount: Int) throws(DeMLError) -> [Int] {
        var sizes: [Int] = []
        try expect("[")
        if accept("]") { return sizes }
        repeat {
            guard sizes.count < maximumCount else {
                throw unexpected("more than \(maximumCount) numbers")
            }
            sizes.append(try size())
        } while accept(",")
        try expect("]")
        return sizes
    }

    mutating func string() throws(DeMLError) -> String {
        try expect("\"")
        let start = position
        while position < bytes.count, bytes[position] != UInt8(ascii: "\""), bytes[position] != UInt8(ascii: "\\") {
            guard bytes[position] >= 0x20 else { throw unexpected("a control character in a string") }
            position += 1
        }
        guard position < bytes.count else { throw unexpected("the end within a string") }
        let plain = UnsafeRawBufferPointer(rebasing: bytes[start..<position])
        if bytes[position] == UInt8(ascii: "\"") {
            position += 1
            return try Self.text(plain, self)
        }
        var unescaped = [UInt8](plain)
        while true {
            guard position < bytes.count else { throw unexpected("the end within a string") }
            let byte = bytes[position]
            guard byte >= 0x20 else { throw unexpected("a control character in a string") }
            position += 1
            if byte == UInt8(ascii: "\"") {
                return try unescaped[...].withBytes { (raw: UnsafeRawBufferPointer) throws(DeMLError) -> String in
                    try Self.text(raw, self)
                }
            }
            if byte == UInt8(ascii: "\\") {
                unescaped += try escape()
            } else {
                unescaped.append(byte)
            }
        }
    }

    /// Any value, checked and dropped.
    mutating func skipValue(depth: Int = 0) throws(DeMLError) {
        guard depth < Self.maximumDepth else { throw unexpected("values nested more than \(Self.maximumDepth) deep") }
        skipSpace()
        guard position < bytes.count else { throw unexpected("the end") }
        switch bytes[position] {
        case UInt8(ascii: "{"):
            try object { (parser, _) throws(DeMLError) in try parser.skipValue(depth: depth + 1) }
        case UInt8(ascii: "["):
            position += 1
            if accept("]") { return }
            repeat { try skipValue(depth: depth + 1) } while accept(",")
            try expect("]")
        case UInt8(ascii: "\""): _ = try string()
        case UInt8(ascii: "t"): try word("true")
        case UInt8(ascii: "f"): try word("false")
        case UInt8(ascii: "n"): try word("null")
        default: try skipNumber()
        }
    }

    /// The end of the header: nothing but white space may follow.
    mutating func end() throws(DeMLError) {
        skipSpace()
        guard position == bytes.count else { throw unexpected("text behind the header's object") }
    }

    // MARK: - Tokens

    private mutating func size() throws(DeMLError) -> Int {
        skipSpace()
        let start = position
        var value = 0
        while position < bytes.count, let digit = Self.digit(bytes[position]) {
            let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(digit)
            guard !overflow, !carry else { throw unexpected("a number that is too large") }
            value = sum
            position += 1
        }
        guard position > start else { throw unexpected("no integer >= 0") }
        guard position == start + 1 || bytes[start] != UInt8(ascii: "0") else { throw unexpected("a leading zero") }
        if position < bytes.count, [UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E")].contains(bytes[position]) {
            throw unexpected("no integer >= 0")
        }
        return value
    }

    private mutating func skipNumber() throws(DeMLError) {
        if position < bytes.count, bytes[position] == UInt8(ascii: "-") { position += 1 }
        let start = position
        try skipDigits()
        guard position == start + 1 || bytes[start] != UInt8(ascii: "0") else { throw unexpected("a leading zero") }
        if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
            position += 1
            try skipDigits()
        }
        if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
            position += 1
            if position < bytes.count, bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-") {
                position += 1
            }
            try skipDigits()
        }
    }

    private mutating func skipDigits() throws(DeMLError) {
        let start = position
        while position < bytes.count, Self.digit(bytes[position]) != nil { position += 1 }
        guard position > start else { throw unexpected("no JSON value") }
    }

    private mutating func word(_ word: StaticString) throws(DeMLError) {
        for offset in 0..<word.utf8CodeUnitCount {
            guard position < bytes.count, bytes[position] == word.utf8Start[offset] else {
                throw unexpected("no JSON value")
            }
            position += 1
        }
    }

    /// The UTF-8 of an escape sequence; `position` stands behind the backslash.
    private mutating func escape() throws(DeMLError) -> [UInt8] {
        guard position < bytes.count else { throw unexpected("the end within a string") }
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
        case UInt8(ascii: "b"): return [0x08]
        case UInt8(ascii: "f"): return [0x0c]
        case UInt8(ascii: "n"): return [0x0a]
        case UInt8(ascii: "r"): return [0x0d]
        case UInt8(ascii: "t"): return [0x09]
        case UInt8(ascii: "u"):
            var code = try hexadecimal()
            if (0xd800..<0xdc00).contains(code) {
                try word("\\u")
                let low = try hexadecimal()
                guard (0xdc00..<0xe000).contains(low) else { throw unexpected("half a surrogate pair") }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw unexpected("half a surrogate pair") }
            return Array(String(Character(scalar)).utf8)
        default: throw unexpected("an unknown escape sequence")
        }
    }

    private mutating func hexadecimal() throws(DeMLError) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard position < bytes.count else { throw unexpected("the end within a string") }
            let byte = bytes[position]
            let digit: UInt32
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = UInt32(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = UInt32(byte - UInt8(ascii: "a")) + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = UInt32(byte - UInt8(ascii: "A")) + 10
            default: throw unexpected("no hexadecimal digit")
            }
            code = code << 4 | digit
            position += 1
        }
        return code
    }

    private mutating func skipSpace() {
        while position < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[position]) { position += 1 }
    }

    private mutating func accept(_ character: Unicode.Scalar) -> Bool {
        skipSpace()
        guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ character: Unicode.Scalar) throws(DeMLError) {
        guard accept(character) else {
            throw unexpected(position < bytes.count ? "something else where \(character) must be" : "the end")
        }
    }

    private func unexpected(_ what: String) -> DeMLError {
        DeMLError(.malformed, "the header is not valid JSON: \(what) at byte \(position)")
    }

    private static func digit(_ byte: UInt8) -> Int? {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) ? Int(byte - UInt8(ascii: "0")) : nil
    }

    private static func text(_ utf8: UnsafeRawBufferPointer, _ parser: HeaderParser) throws(DeMLError) -> String {
        guard let text = String(validating: utf8, as: UTF8.self) else {
            throw parser.unexpected("a string that is not UTF-8")
        }
        return text
    }
}
