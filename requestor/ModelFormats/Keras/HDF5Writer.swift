import Tensors

/// Writes an HDF5 file of groups and float32 datasets as the oldest readers know them (superblock 0, symbol tables,
/// contiguous data): what Keras reads with h5py.
struct HDF5Writer {
    indirect enum Node {
        case group([(name: String, node: Node)])
        case dataset(Tensor)
    }

    private var bytes: [UInt8] = []
    /// Half of how many tables of symbols a group may have; one number for the whole file.
    private let treeRank: Int

    /// Names within a group must differ.
    static func encode(_ root: Node) throws(DeMLError) -> [UInt8] {
        var writer = HDF5Writer(treeRank: max(16, (mostLinks(root) + 15) / 16))
        guard writer.treeRank < 1 << 15 else {
            throw DeMLError(.tooLarge, "the model has too many layers for an HDF5 file")
        }
        // The superblock's 96 bytes are filled in when the root's place is known.
        writer.bytes = [UInt8](repeating: 0, count: 96)
        let address = try writer.add(root)
        writer.superblock(root: address)
        return writer.bytes
    }

    private init(treeRank: Int) {
        self.treeRank = treeRank
    }

    private static func mostLinks(_ node: Node) -> Int {
        guard case .group(let links) = node else { return 0 }
        return links.reduce(links.count) { max($0, mostLinks($1.node)) }
    }

    private static func little(_ value: Int, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    /// No address.
    private static let none = [UInt8](repeating: 0xff, count: 8)

    private mutating func superblock(root: Int) {
        let little = Self.little
        var block: [UInt8] = HDF5File.signature + [0, 0, 0, 0, 0, 8, 8, 0]
        block += little(4, 2) + little(treeRank, 2) + little(0, 4)
        block += little(0, 8) + Self.none + little(bytes.count, 8) + Self.none
        block += little(0, 8) + little(root, 8) + little(0, 4) + little(0, 4) + [UInt8](repeating: 0, count: 16)
        bytes.replaceSubrange(0..<block.count, with: block)
    }

    private mutating func place(_ content: [UInt8]) -> Int {
        while bytes.count % 8 != 0 { bytes.append(0) }
        defer { bytes += content }
        return bytes.count
    }

    private mutating func header(_ messages: [(type: Int, content: [UInt8])]) -> Int {
        var body: [UInt8] = []
        for (type, content) in messages {
            let padded = content + [UInt8](repeating: 0, count: (8 - content.count % 8) % 8)
            body += Self.little(type, 2) + Self.little(padded.count, 2) + Self.little(0, 4) + padded
        }
        let start = Self.little(1, 1) + [0] + Self.little(messages.count, 2) + Self.little(1, 4)
        return place(start + Self.little(body.count, 4) + Self.little(0, 4) + body)
    }

    private mutating func add(_ node: Node) throws(DeMLError) -> Int {
        let little = Self.little
        switch node {
        case .dataset(let tensor):
            let data = place(Array(Tensor(shape: tensor.shape, floats: try tensor.floats()).bytes))
            let count = tensor.count * 4
            var space: [UInt8] = [1, UInt8(tensor.shape.count), 0, 0, 0, 0, 0, 0]
            for size in tensor.shape { space += little(size, 8) }
            // IEEE single precision, little-endian: exponent of 8 bits at 23 with bias 127, 23 bits of mantissa.
            let type: [UInt8] = [0x11, 0x20, 0x1f, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23] + little(127, 4)
            let layout: [UInt8] = [3, 1] + little(count == 0 ? -1 : data, 8) + little(count, 8)
            return header([
                (type: 1, content: space), (type: 3, content: type), (type: 5, content: [2, 1, 0, 0]),
                (type: 8, content: layout),
            ])
        case .group(let links):
            let sorted = links.sorted { Array($0.name.utf8).lexicographicallyPrecedes(Array($1.name.utf8)) }
            var names = [UInt8](repeating: 0, count: 8)
            var entries: [(offset: Int, address: Int)] = []
            for link in sorted {
                entries.append((names.count, try add(link.node)))
                names += Array(link.name.utf8) + [0]
                names += [UInt8](repeating: 0, count: (8 - names.count % 8) % 8)
            }
            let segment = place(names)
            let heap = place(
                Array("HEAP".utf8) + [0, 0, 0, 0] + little(names.count, 8) + little(1, 8) + little(segment, 8))
            var tree = Array("TREE".utf8) + [0, 0]
            let tables = stride(from: 0, to: entries.count, by: 8).map {
                Array(entries[$0..<min($0 + 8, entries.count)])
            }
            tree += little(tables.count, 2) + Self.none + Self.none + little(0, 8)
            for table in tables {
                var content = Array("SNOD".utf8) + [1, 0] + little(table.count, 2)
                for entry in table {
                    content += little(entry.offset, 8) + little(entry.address, 8) + [UInt8](repeating: 0, count: 24)
                }
                content += [UInt8](repeating: 0, count: 8 + 8 * 40 - content.count)
                tree += little(place(content), 8) + little(table[table.count - 1].offset, 8)
            }
            tree += [UInt8](repeating: 0, count: 24 + (4 * treeRank + 1) * 8 - tree.count)
            return header([(0x11, little(place(tree), 8) + little(heap, 8))])
        }
    }
}
