import Tensors

/// What h5py writes of Keras models (HDF5 File Format Specification, version 3): groups by symbol tables or by links in
/// their headers, contiguous and compact datasets of numbers, attributes with texts. Everything else (chunks, filters,
/// links to other files, dense storage) is refused by name, so that a hostile file finds little to play with: every address
/// and size is checked against the file, and no object is walked through twice.
struct HDF5File {
    /// A group or a dataset.
    struct Object {
        var address: Int
        var links: [(name: String, address: Int)] = []
        var attributes: [String: [String]] = [:]
        fileprivate var dtype: DType?
        fileprivate var shape: [Int]?
        fileprivate var content: Range<Int>?
        fileprivate var problem: DeMLError?
    }

    private let file: ByteReader
    private let bytes: [UInt8]
    private(set) var root: Object

    static let signature: [UInt8] = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a]

    /// - Throws: `malformed`, `truncated`.
    init(_ bytes: [UInt8]) throws(DeMLError) {
        guard bytes.starts(with: Self.signature) else { throw DeMLError(.malformed, "the file is no HDF5 file") }
        self.bytes = bytes
        file = ByteReader(bytes[...])
        root = Object(address: 0)
        let address: Int
        switch try file.integer(8, 1) {
        case 0, 1:
            guard try file.integer(13, 2) == 0x0808 else { throw Self.unknown("addresses that have not eight bytes") }
            let start = try file.integer(8, 1) == 0 ? 24 : 28
            guard try file.integer(start, 8) == 0 else { throw Self.unknown("a base address") }
            try Self.requireWhole(bytes, end: try file.integer(start + 16, 8))
            address = try file.integer(start + 32 + 8, 8)
        case 2, 3:
            guard try file.integer(9, 2) == 0x0808 else { throw Self.unknown("addresses that have not eight bytes") }
            guard try file.integer(12, 8) == 0 else { throw Self.unknown("a base address") }
            try Self.requireWhole(bytes, end: try file.integer(28, 8))
            address = try file.integer(36, 8)
        default: throw Self.unknown("a superblock of an unknown version")
        }
        root = try object(at: address)
    }

    private static func requireWhole(_ bytes: [UInt8], end: Int) throws(DeMLError) {
        guard end <= bytes.count else {
            throw DeMLError(
                .truncated, "the HDF5 file says that it has \(end) bytes, but there are \(bytes.count)",
                hint: "is the file complete?")
        }
    }

    private static func unknown(_ what: String) -> DeMLError {
        DeMLError(.malformed, "the HDF5 file has \(what), which is not read", hint: "save it anew with Keras")
    }

    // MARK: Walking

    /// The object at a path such as `layers/dense/vars`; nil where there is none.
    func object(_ path: String, from start: Object? = nil) throws(DeMLError) -> Object? {
        var current = start ?? root
        for part in path.split(separator: "/").prefix(64) {
            guard let link = current.links.first(where: { $0.name == part }) else { return nil }
            current = try object(at: link.address)
        }
        return current
    }

    /// The numbers of a dataset. Throws what is wrong with it.
    func tensor(_ object: Object) throws(DeMLError) -> Tensor {
        if let problem = object.problem { throw problem }
        guard let dtype = object.dtype, let shape = object.shape, let content = object.content else {
            throw DeMLError(.malformed, "the object is no dataset of numbers")
        }
        let count = elementCount(of: shape).map { $0.multipliedSaturated(by: dtype.byteCount) } ?? .max
        guard count <= content.count else {
            throw DeMLError(.truncated, "the shape \(shape) needs \(count) bytes, but there are \(content.count)")
        }
        return try Tensor(dtype: dtype, shape: shape, bytes: bytes[content.lowerBound..<content.lowerBound + count])
    }

    /// All groups that lie below the root, by their paths. Throws `malformed` where they go in circles.
    func groups() throws(DeMLError) -> [(path: String, object: Object)] {
        var found: [(path: String, object: Object)] = []
        var seen: Set<Int> = [root.address]
        var waiting: [(path: String, object: Object)] = [("", root)]
        while let next = waiting.popLast() {
            found.append(next)
            for link in next.object.links {
                guard seen.insert(link.address).inserted else {
                    throw DeMLError(
                        .malformed, "the groups of the HDF5 file go in circles", place: link.name.quotedForMessage)
                }
                guard seen.count <= 100_000, next.path.utf8.count < 4096 else {
                    throw DeMLError(.tooLarge, "the HDF5 file has more than 100000 groups")
                }
                let object = try object(at: link.address)
                if object.content == nil, object.problem == nil {
                    waiting.append((next.path + "/" + link.name, object))
                }
            }
        }
        return found
    }

    // MARK: Object headers

    private struct Message {
        var type: Int
        var start: Int
        var count: Int
    }

    private func object(at address: Int) throws(DeMLError) -> Object {
        var object = Object(address: address)
        for message in try messages(at: address) {
            let at = message.start
            switch message.type {
            case 0x01: object.shape = try dataspace(at)
            case 0x03:
                do throws(DeMLError) { object.dtype = try datatype(at) } catch { object.problem = error }
            case 0x06: object.links.append(try link(at))
            case 0x02:
                // Where the links are, if they are too many for the header.
                let flags = try file.integer(at + 1, 1)
                guard try file.integer(at + 2 + (flags & 1) * 8, 8) >= 1 << 60 else {
                    throw Self.unknown("a group with dense links")
                }
            case 0x08:
                do throws(DeMLError) { object.content = try layout(at) } catch { object.problem = error }
            case 0x0b: object.problem = Self.unknown("a dataset that is compressed")
            case 0x0c:
                if let (name, texts) = try attribute(at) { object.attributes[name] = texts }
            case 0x11: object.links += try symbolTable(try file.integer(at, 8), heap: try file.integer(at + 8, 8))
            default: break
            }
        }
        return object
    }

    /// All messages of an object, of its continuations too.
    private func messages(at address: Int) throws(DeMLError) -> [Message] {
        var messages: [Message] = []
        let isNew = try file.slice(address, 4).elementsEqual("OHDR".utf8)
        var blocks: [Range<Int>] = []
        var hasOrder = false
        if isNew {
            guard try file.integer(address + 4, 1) == 2 else { throw Self.unknown("an object of an unknown version") }
            let flags = try file.integer(address + 5, 1)
            hasOrder = flags & 4 != 0
            let start = address + 6 + (flags & 0x20 != 0 ? 16 : 0) + (flags & 0x10 != 0 ? 4 : 0)
            let width = 1 << (flags & 3)
            let count = try file.integer(start, width)
            blocks = [start + width..<(start + width).addingSaturated(count)]
        } else {
            guard try file.integer(address, 1) == 1 else { throw Self.unknown("an object of an unknown version") }
            let start = address + 16
            blocks = [start..<start.addingSaturated(try file.integer(address + 8, 4))]
        }
        var next = 0
        while next < blocks.count {
            guard blocks.count <= 1000, messages.count <= 10_000 else {
                throw DeMLError(.malformed, "an object of the HDF5 file has no end")
            }
            var position = blocks[next].lowerBound
            let end = blocks[next].upperBound
            next += 1
            let head = isNew ? 4 + (hasOrder ? 2 : 0) : 8
            while position + head <= end {
                let type = try file.integer(position, isNew ? 1 : 2)
                let count = try file.integer(position + (isNew ? 1 : 2), 2)
                let start = position + head
                _ = try file.slice(start, count)
                guard start + count <= end else { throw DeMLError(.malformed, "an object of the HDF5 file is damaged") }
                if type == 0x10 {
                    let (offset, length) = (try file.integer(start, 8), try file.integer(start + 8, 8))
                    _ = try file.slice(offset, length)
                    // The new kind begins with OCHK and ends with a checksum.
                    guard !isNew || length >= 8 else {
                        throw DeMLError(.malformed, "an object of the HDF5 file is damaged")
                    }
                    let block = isNew ? offset + 4..<offset + length - 4 : offset..<offset + length
                    guard !blocks.contains(block) else {
                        throw DeMLError(.malformed, "an object of the HDF5 file goes on in itself")
                    }
                    blocks.append(block)
                } else {
                    // Shared messages lie elsewhere; h5py shares none.
                    guard try file.integer(position + (isNew ? 3 : 4), 1) & 2 == 0 || type == 0 else {
                        throw Self.unknown("a shared message")
                    }
                    messages.append(Message(type: type, start: start, count: count))
                }
                position = start + count
            }
        }
        return messages
    }

    // MARK: Groups

    private func link(_ at: Int) throws(DeMLError) -> (name: String, address: Int) {
        let flags = try file.integer(at + 1, 1)
        var position = at + 2
        if flags & 8 != 0 {
            guard try file.integer(position, 1) == 0 else { throw Self.unknown("a link that is soft or external") }
            position += 1
        }
        if flags & 4 != 0 { position += 8 }
        if flags & 16 != 0 { position += 1 }
        let width = 1 << (flags & 3)
        let count = try file.integer(position, width)
        let name = try file.slice(position + width, count)
        return (String(decoding: name, as: UTF8.self), try file.integer(position + width + count, 8))
    }

    /// The links of a group of the old kind: a B-tree whose leaves are tables of symbols, and a heap of names.
    private func symbolTable(_ tree: Int, heap: Int) throws(DeMLError) -> [(name: String, address: Int)] {
        guard try file.slice(heap, 4).elementsEqual("HEAP".utf8) else { throw Self.unknown("a group without names") }
        let names = try file.slice(try file.integer(heap + 24, 8), try file.integer(heap + 8, 8))
        var links: [(name: String, address: Int)] = []
        var seen: Set<Int> = [tree]
        var waiting = [tree]
        while let node = waiting.popLast() {
            if try file.slice(node, 4).elementsEqual("SNOD".utf8) {
                let count = try file.integer(node + 6, 2)
                for index in 0..<count {
                    let entry = node + 8 + index * 40
                    let offset = try file.integer(entry, 8)
                    guard offset < names.count else {
                        throw DeMLError(.malformed, "a name of the HDF5 file is nowhere")
                    }
                    guard try file.integer(entry + 16, 4) != 2 else { throw Self.unknown("a link that is soft") }
                    let name = names[(names.startIndex + offset)...].prefix { $0 != 0 }
                    links.append((String(decoding: name, as: UTF8.self), try file.integer(entry + 8, 8)))
                }
                continue
            }
            guard try file.slice(node, 4).elementsEqual("TREE".utf8), try file.integer(node + 4, 1) == 0 else {
                throw DeMLError(.malformed, "a group of the HDF5 file is damaged")
            }
            for index in 0..<(try file.integer(node + 6, 2)) {
                let child = try file.integer(node + 24 + 8 + index * 16, 8)
                guard seen.insert(child).inserted, seen.count <= 100_000 else {
                    throw DeMLError(.malformed, "a group of the HDF5 file goes in circles")
                }
                waiting.append(child)
            }
        }
        return links
    }

    // MARK: Datasets

    /// Nil for one that is empty.
    private func dataspace(_ at: Int) throws(DeMLError) -> [Int] {
        let version = try file.integer(at, 1)
        let rank = try file.integer(at + 1, 1)
        guard version == 1 || version == 2, rank <= 8 else { throw Self.unknown("a shape of an unknown version") }
        if version == 2, try file.integer(at + 3, 1) == 2 { return [0] }
        let start = at + (version == 1 ? 8 : 4)
        var shape: [Int] = []
        for axis in 0..<rank { shape.append(try file.integer(start + axis * 8, 8)) }
        guard elementCount(of: shape) != nil else { throw DeMLError(.shape, "the shape \(shape) is none") }
        return shape
    }

    private func datatype(_ at: Int) throws(DeMLError) -> DType {
        let kind = try file.integer(at, 1) & 15
        let bits = try file.integer(at + 1, 1)
        let size = try file.integer(at + 4, 4)
        guard bits & 1 == 0 else { throw Self.unknown("big-endian numbers") }
        let isSigned = bits & 8 != 0
        switch (kind, size) {
        case (1, 2): return .f16
        case (1, 4): return .f32
        case (1, 8): return .f64
        case (0, 1): return isSigned ? .i8 : .u8
        case (0, 2) where isSigned: return .i16
        case (0, 4) where isSigned: return .i32
        // A seed generator's state, which nobody reads.
        case (0, 4): return .i32
        case (0, 8): return .i64
        default: throw Self.unknown("a dataset of a type that is no number")
        }
    }

    /// Where the numbers lie.
    private func layout(_ at: Int) throws(DeMLError) -> Range<Int> {
        let version = try file.integer(at, 1)
        guard version == 3 || version == 4 else { throw Self.unknown("a dataset of an unknown version") }
        switch try file.integer(at + 1, 1) {
        case 0:
            let count = try file.integer(at + 2, 2)
            _ = try file.slice(at + 4, count)
            return at + 4..<at + 4 + count
        case 1:
            let (start, count) = (try file.integer(at + 2, 8), try file.integer(at + 10, 8))
            // One that is empty has no address.
            if count == 0 || start >= 1 << 60 { return 0..<0 }
            _ = try file.slice(start, count)
            return start..<start + count
        default: throw Self.unknown("a dataset in chunks")
        }
    }

    // MARK: Attributes

    /// The name and the texts of an attribute; nil for one that is no text.
    private func attribute(_ at: Int) throws(DeMLError) -> (String, [String])? {
        let version = try file.integer(at, 1)
        guard (1...3).contains(version) else { throw Self.unknown("an attribute of an unknown version") }
        var sizes: [Int] = []
        for index in 0..<3 { sizes.append(try file.integer(at + 2 + index * 2, 2)) }
        var position = at + 8 + (version == 3 ? 1 : 0)
        func padded(_ size: Int) -> Int { version == 1 ? (size + 7) / 8 * 8 : size }
        let name = String(decoding: try file.slice(position, sizes[0]).prefix { $0 != 0 }, as: UTF8.self)
        position += padded(sizes[0])
        let type = position
        position += padded(sizes[1])
        let shape = try dataspace(position)
        position += padded(sizes[2])
        guard let count = elementCount(of: shape), count <= 100_000 else {
            throw DeMLError(.tooLarge, "the attribute \(name.quotedForMessage) has \(shape) texts")
        }
        var texts: [String] = []
        switch try file.integer(type, 1) & 15 {
        case 3:
            let size = try file.integer(type + 4, 4)
            for index in 0..<count {
                let text = try file.slice(position + index * size, size)
                texts.append(String(decoding: text.prefix { $0 != 0 }, as: UTF8.self))
            }
        case 9 where try file.integer(type + 1, 1) & 15 == 1:
            for index in 0..<count {
                let place = position + index * 16
                let length = try file.integer(place, 4)
                let text = try heapText(try file.integer(place + 4, 8), try file.integer(place + 12, 4))
                texts.append(String(decoding: text.prefix(length), as: UTF8.self))
            }
        default: return nil
        }
        return (name, texts)
    }

    /// A text in a heap that all of the file shares.
    private func heapText(_ heap: Int, _ wanted: Int) throws(DeMLError) -> ArraySlice<UInt8> {
        guard try file.slice(heap, 4).elementsEqual("GCOL".utf8) else {
            throw DeMLError(.malformed, "a text of the HDF5 file is nowhere")
        }
        let whole = try file.slice(heap, try file.integer(heap + 8, 8))
        var position = 16
        while position + 16 <= whole.count {
            let index = try file.integer(heap + position, 2)
            let size = try file.integer(heap + position + 8, 8)
            if index == wanted, index != 0 { return try file.slice(heap + position + 16, size) }
            guard index != 0, size < whole.count else { break }
            position += 16 + (size + 7) / 8 * 8
        }
        throw DeMLError(.malformed, "a text of the HDF5 file is nowhere")
    }
}
