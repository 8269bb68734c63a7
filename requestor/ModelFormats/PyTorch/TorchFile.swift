import Tensors

/// The tensors of a `.pt` or `.pth` file of `torch.save(model.state_dict(), …)`: the zip format, and that of before
/// PyTorch 1.6. Read with ``Pickle``, which runs nothing.
struct TorchFile {
    /// In the order of the file, by the names of the state dictionary.
    let tensors: [(name: String, tensor: Tensor)]

    /// The beginning of a file of before PyTorch 1.6: protocol 2, a long of ten bytes, the magic number.
    static let legacyMagic: [UInt8] = [
        0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19,
    ]

    /// The zip format.
    /// - Throws: `malformed` for a pickle that is more than weights, `truncated`, `missing` without any tensor, `tooLarge`.
    init(_ archive: ZipArchive) throws(DeMLError) {
        tensors = try Self.zipped(archive)
        try requireTensors()
    }

    /// The format of before PyTorch 1.6. Throws as the other.
    init(legacy bytes: [UInt8]) throws(DeMLError) {
        tensors = try Self.legacy(bytes)
        try requireTensors()
    }

    private func requireTensors() throws(DeMLError) {
        guard !tensors.isEmpty else {
            throw DeMLError(.missing, "there is no tensor in the file", hint: "save model.state_dict()")
        }
    }

    // MARK: The two containers

    /// `NAME/data.pkl` and a member `NAME/data/KEY` for each storage.
    private static func zipped(_ archive: ZipArchive) throws(DeMLError) -> [(name: String, tensor: Tensor)] {
        guard let pickle = archive.members.first(where: { $0.name == "data.pkl" || $0.name.hasSuffix("/data.pkl") })
        else {
            let isScript = archive.members.contains { $0.name.contains("/code/") }
            throw DeMLError(
                .missing, "the zip file has no data.pkl, so it was not made by torch.save",
                hint: isScript ? "TorchScript is not read: use torch.export.save" : nil)
        }
        guard !archive.members.contains(where: { $0.name.hasSuffix("/constants.pkl") }) else {
            throw DeMLError(
                .malformed, "the file is TorchScript, which is a program",
                hint: "save model.state_dict(), or use torch.export.save")
        }
        let folder = String(pickle.name.dropLast("data.pkl".count))
        let members = Dictionary(archive.members.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        if let order = members[folder + "byteorder"] {
            guard try archive.content(of: order, maximumBytes: 16).elementsEqual("little".utf8) else {
                throw DeMLError(.malformed, "the file is in big-endian order", hint: "save it on another machine")
            }
        }
        let program = try Pickle(try archive.content(of: pickle, maximumBytes: maximumPickleBytes))
        var storages: [String: ByteRegion] = [:]
        return try stateDictionary(program) { (storage) throws(DeMLError) in
            if let known = storages[storage.key] { return known }
            guard let member = members[folder + "data/" + storage.key] else {
                throw DeMLError(.missing, "the zip file has no storage \(storage.key.quotedForMessage)")
            }
            let content = ByteRegion(try archive.content(of: member, maximumBytes: maximumStorageBytes))
            storages[storage.key] = content
            return content
        }
    }

    static let maximumPickleBytes = 64 << 20
    static let maximumStorageBytes = 4 << 30

    /// Five pickles (magic number, version, the machine, the tensors, the storages' keys), then the storages.
    private static func legacy(_ bytes: [UInt8]) throws(DeMLError) -> [(name: String, tensor: Tensor)] {
        guard bytes.starts(with: legacyMagic) else {
            throw DeMLError(.malformed, "the file was not made by torch.save")
        }
        var rest = bytes[...]
        func next() throws(DeMLError) -> Pickle {
            let pickle = try Pickle(rest.prefix(maximumPickleBytes))
            rest = rest.dropFirst(pickle.length)
            return pickle
        }
        _ = try next()
        let version = try next()
        guard version.root == .int(1001) else {
            throw DeMLError(.malformed, "the file has a version that torch.save never wrote")
        }
        let machine = try next()
        for (key, value) in machine.entries(of: machine.root) ?? [] where key == .text("little_endian") {
            guard value == .bool(true) else {
                throw DeMLError(.malformed, "the file is in big-endian order", hint: "save it on another machine")
            }
        }
        let program = try next()
        let order = try next()
        let widths = try storageWidths(program)
        let reader = ByteReader(bytes[...])
        var position = bytes.count - rest.count
        var storages: [String: ByteRegion] = [:]
        for key in order.elements(of: order.root) ?? [] {
            guard case .text(let name) = key, let width = widths[name] else {
                throw DeMLError(.malformed, "the file has a storage that no tensor refers to")
            }
            let count = try reader.integer(position, 8)
            let content = try reader.slice(position + 8, count.multipliedSaturated(by: width))
            storages[name] = ByteRegion(content)
            position += 8 + content.count
        }
        return try stateDictionary(program) { (storage) throws(DeMLError) in
            guard let content = storages[storage.key] else {
                throw DeMLError(.missing, "the file has no storage \(storage.key.quotedForMessage)")
            }
            return content
        }
    }

    // MARK: Tensors

    /// What a persistent id says: ('storage', type, key, location, count).
    private struct Storage {
        let key: String
        let dtype: DType?
        let typeName: String

        init(_ fields: [Pickle.Value]) throws(DeMLError) {
            guard fields.count >= 5, fields[0] == .text("storage"), case .name(let type) = fields[1],
                case .text(let key) = fields[2]
            else { throw DeMLError(.malformed, "the pickle refers to something that is no storage") }
            // An old file's storage may be a view of another: none that holds a state dictionary is.
            guard fields.count < 6 || fields[5] == .none else {
                throw DeMLError(.malformed, "a storage is a part of another, which is not read")
            }
            self.key = key
            typeName = type
            dtype = Self.types[type]
        }

        static let types: [String: DType] = [
            "torch.FloatStorage": .f32, "torch.DoubleStorage": .f64, "torch.HalfStorage": .f16,
            "torch.BFloat16Storage": .bf16, "torch.LongStorage": .i64, "torch.IntStorage": .i32,
            "torch.ShortStorage": .i16, "torch.CharStorage": .i8, "torch.ByteStorage": .u8, "torch.BoolStorage": .bool,
        ]
    }

    /// Bytes of an element of each storage that the state dictionary refers to.
    private static func storageWidths(_ pickle: Pickle) throws(DeMLError) -> [String: Int] {
        var widths: [String: Int] = [:]
        for fields in pickle.allPersistent {
            let storage = try Storage(fields)
            guard let dtype = storage.dtype else {
                throw DeMLError(.dtype, "a storage is \(storage.typeName), which is not read")
            }
            widths[storage.key] = dtype.byteCount
        }
        return widths
    }

    /// The tensors of a state dictionary, alone or within a checkpoint.
    private static func stateDictionary(
        _ pickle: Pickle, _ content: (Storage) throws(DeMLError) -> ByteRegion
    ) throws(DeMLError) -> [(name: String, tensor: Tensor)] {
        var root = pickle.root
        // {"epoch": …, "model_state_dict": {…}}: how people keep checkpoints.
        for _ in 0..<2 {
            let entries = pickle.entries(of: root) ?? []
            guard !entries.contains(where: { isTensor($0.value, pickle) }) else { break }
            let names = [
                "state_dict", "model_state_dict", "model", "model_state", "net", "network", "weights", "module",
            ]
            guard
                let inner = names.lazy.compactMap({ name in entries.first { $0.key == .text(name) }?.value })
                    .first(where: { pickle.entries(of: $0) != nil })
            else { break }
            root = inner
        }
        guard let entries = pickle.entries(of: root) else {
            throw DeMLError(
                .malformed, "the file holds no dictionary of tensors", hint: "save model.state_dict()")
        }
        var tensors: [(name: String, tensor: Tensor)] = []
        var seen: Set<String> = []
        for (key, value) in entries {
            guard case .text(let name) = key, isTensor(value, pickle) else { continue }
            guard seen.insert(name).inserted else {
                throw DeMLError(.malformed, "the tensor \(name.quotedForMessage) is there twice")
            }
            do throws(DeMLError) {
                tensors.append((name, try tensor(value, pickle, content)))
            } catch {
                throw error.within("tensor \(name.quotedForMessage)")
            }
        }
        return tensors
    }

    private static func isTensor(_ value: Pickle.Value, _ pickle: Pickle) -> Bool {
        pickle.call(of: value)?.name.hasPrefix("torch._utils._rebuild_") == true
    }

    private static func tensor(
        _ value: Pickle.Value, _ pickle: Pickle, _ content: (Storage) throws(DeMLError) -> ByteRegion
    ) throws(DeMLError) -> Tensor {
        var value = value
        for _ in 0..<4 {
            guard let call = pickle.call(of: value) else { break }
            if call.name == "torch._utils._rebuild_parameter", let first = call.arguments.first {
                value = first
                continue
            }
            guard call.name.hasPrefix("torch._utils._rebuild_tensor"), call.arguments.count >= 4,
                let fields = pickle.persistent(of: call.arguments[0]), case .int(let offset) = call.arguments[1],
                let shape = integers(pickle.elements(of: call.arguments[2])),
                let strides = integers(pickle.elements(of: call.arguments[3]))
            else { break }
            let storage = try Storage(fields)
            guard let dtype = storage.dtype else {
                throw DeMLError(.dtype, "it is \(storage.typeName), which is not read")
            }
            return try StridedTensor(dtype: dtype, shape: shape, strides: strides, offset: offset)
                .tensor(in: try content(storage))
        }
        throw DeMLError(.malformed, "the pickle does not describe it as torch does")
    }

    private static func integers(_ values: [Pickle.Value]?) -> [Int]? {
        var result: [Int] = []
        for value in values ?? [.none] {
            guard case .int(let number) = value else { return nil }
            result.append(number)
        }
        return result
    }
}

/// A view of a storage, as torch keeps tensors: element (i, j, …) lies at offset + i·strides[0] + j·strides[1] + …
struct StridedTensor {
    let dtype: DType
    let shape: [Int]
    let strides: [Int]
    let offset: Int

    /// The elements in row-major order: a slice where they lie so already. Throws `malformed` where the view reaches
    /// beyond the storage, or is larger than it.
    func tensor(in storage: ByteRegion) throws(DeMLError) -> Tensor {
        let available = storage.count / dtype.byteCount
        guard shape.count == strides.count, shape.count <= 8, offset >= 0, shape.allSatisfy({ $0 >= 0 }),
            strides.allSatisfy({ $0 >= 0 }), let count = elementCount(of: shape)
        else { throw DeMLError(.malformed, "the shape \(shape) with the strides \(strides) is none") }
        var last = offset
        for (size, stride) in zip(shape, strides) where size > 0 {
            last = last.addingSaturated((size - 1).multipliedSaturated(by: stride))
        }
        guard count == 0 || last < available && count <= available else {
            throw DeMLError(
                .malformed, "the shape \(shape) reaches beyond the \(available) numbers of its storage",
                hint: "is the file complete?")
        }
        guard count > 0 else { return try Tensor(dtype: dtype, shape: shape, bytes: ByteRegion([])) }
        let width = dtype.byteCount
        var expected = 1
        var isContiguous = true
        for (size, stride) in zip(shape, strides).reversed() {
            if size > 1, stride != expected { isContiguous = false }
            expected *= size
        }
        if isContiguous {
            let start = storage.startIndex + offset * width
            return try Tensor(dtype: dtype, shape: shape, bytes: storage[start..<start + count * width])
        }
        let gathered = storage.gathered(width: width, shape: shape, strides: strides, offset: offset)
        return try Tensor(dtype: dtype, shape: shape, bytes: ByteRegion(gathered))
    }
}
