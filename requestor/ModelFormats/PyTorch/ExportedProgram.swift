import NeuralNetwork
import Tensors

/// A `.pt2` file of `torch.export.save`: a zip with the program as JSON (torch/_export/serde/schema.py, version 8) and each
/// weight as its bytes. The program is a list of ATen operators; it is read, and nothing of it is run. The sample inputs,
/// which are a pickle, are not looked at.
struct ExportedProgram {
    struct Node {
        /// `conv2d`, of `torch.ops.aten.conv2d.default`.
        var operation: String
        var name: String
        var arguments: [String: JSONTree]
        var outputs: [String]

        var origin: Step.Origin { Step.Origin(name: name, operation: operation) }
    }

    private(set) var nodes: [Node] = []
    /// Weights, buffers and constants by the names that nodes call them, with those of the state dictionary.
    private(set) var constants: [String: (tensor: Tensor, name: String)] = [:]
    private(set) var inputs: [String] = []
    private(set) var outputs: [String] = []
    /// The shape of every value, the batch first; a size that varies has its value in the example.
    private(set) var shapes: [String: [Int]] = [:]

    static func isExportedProgram(_ archive: ZipArchive) -> Bool {
        archive.members.contains {
            $0.name.hasSuffix("archive_format") || $0.name.hasSuffix("serialized_exported_program.json")
        }
    }

    /// - Throws: `malformed`, `missing`, `dtype`, `truncated`.
    init(_ archive: ZipArchive) throws(DeMLError) {
        let members = Dictionary(archive.members.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        guard let program = archive.members.first(where: { $0.name.hasSuffix("models/model.json") }) else {
            throw DeMLError(
                .missing, "the file has no models/model.json",
                hint: "torch.export.save of PyTorch 2.9 or newer writes it")
        }
        let folder = String(program.name.dropLast("models/model.json".count))
        func json(_ name: String) throws(DeMLError) -> JSONTree? {
            guard let member = members[folder + name] else { return nil }
            return try JSONTree(
                parsing: try archive.content(of: member, maximumBytes: 64 << 20), of: name)
        }
        guard let model = try json("models/model.json"), let module = model["graph_module"], let graph = module["graph"]
        else { throw DeMLError(.malformed, "models/model.json has no graph") }
        if let order = members[folder + "byteorder"],
            try !archive.content(of: order, maximumBytes: 16).elementsEqual("little".utf8)
        {
            throw DeMLError(.malformed, "the file is in big-endian order", hint: "save it on another machine")
        }

        var weights: [String: Tensor] = [:]
        for (kind, file) in [("weights", "model_weights_config"), ("constants", "model_constants_config")] {
            for (name, entry) in try json("data/\(kind)/\(file).json")?["config"]?.mapping ?? [:] {
                guard let path = entry["path_name"]?.text, let member = members[folder + "data/\(kind)/" + path] else {
                    continue
                }
                do throws(DeMLError) {
                    let content = try archive.content(of: member, maximumBytes: TorchFile.maximumStorageBytes)
                    weights[name] = try Self.tensor(entry, ByteRegion(content))
                } catch {
                    throw error.within("tensor \(name.quotedForMessage)")
                }
            }
        }
        for specification in module["signature"]?["input_specs"]?.list ?? [] {
            if let input = specification["user_input"]?["arg"]?["as_tensor"]?["name"]?.text {
                inputs.append(input)
                continue
            }
            for (kind, key) in [
                ("parameter", "parameter_name"), ("buffer", "buffer_name"), ("tensor_constant", "tensor_constant_name"),
            ] {
                guard let spec = specification[kind], let argument = spec["arg"]?["name"]?.text,
                    let name = spec[key]?.text, let tensor = weights[name]
                else { continue }
                constants[argument] = (tensor, name)
            }
        }
        outputs = (module["signature"]?["output_specs"]?.list ?? []).compactMap {
            $0["user_output"]?["arg"]?["as_tensor"]?["name"]?.text
        }
        for (name, value) in graph["tensor_values"]?.mapping ?? [:] {
            shapes[name] = try Self.sizes(value["sizes"])
        }
        for node in graph["nodes"]?.list ?? [] { nodes.append(try Self.node(node)) }
    }

    private static func node(_ tree: JSONTree) throws(DeMLError) -> Node {
        guard let target = tree["target"]?.text else { throw DeMLError(.malformed, "a node has no target") }
        var parts = target.split(separator: ".").map(String.init)
        if parts.starts(with: ["torch", "ops", "aten"]) { parts = Array(parts.dropFirst(3)) }
        // relu_ is relu: where it is written makes no difference here.
        var operation = parts.first ?? target
        while operation.hasSuffix("_"), operation.count > 1 { operation.removeLast() }
        var arguments: [String: JSONTree] = [:]
        for argument in tree["inputs"]?.list ?? [] {
            if let name = argument["name"]?.text { arguments[name] = argument["arg"] }
        }
        // One value after the other, or a list of them.
        let outputs = (tree["outputs"]?.list ?? []).flatMap { output -> [String] in
            output["as_tensor"]?["name"]?.text.map { [$0] }
                ?? (output["as_tensors"]?.list ?? []).compactMap { $0["name"]?.text }
        }
        return Node(
            operation: parts.count > 2 && target.hasPrefix("torch.ops") == false ? target : operation,
            name: tree["name"]?.text ?? outputs.first ?? operation, arguments: arguments, outputs: outputs)
    }

    private static func sizes(_ tree: JSONTree?) throws(DeMLError) -> [Int] {
        var sizes: [Int] = []
        for entry in tree?.list ?? [] {
            guard let size = entry["as_int"]?.int ?? entry["as_expr"]?["hint"]?["as_int"]?.int,
                (0..<1 << 40).contains(size)
            else { throw DeMLError(.malformed, "a shape of the program is none") }
            sizes.append(size)
        }
        return sizes
    }

    private static func tensor(_ entry: JSONTree, _ content: ByteRegion) throws(DeMLError) -> Tensor {
        guard let meta = entry["tensor_meta"], let number = meta["dtype"]?.int else {
            throw DeMLError(.malformed, "it is not described")
        }
        guard entry["use_pickle"]?.bool != true else {
            throw DeMLError(.malformed, "it is kept as a pickle", hint: "tensors of a subclass are not read")
        }
        let types: [Int: DType] = [
            1: .u8, 2: .i8, 3: .i16, 4: .i32, 5: .i64, 6: .f16, 7: .f32, 8: .f64, 12: .bool, 13: .bf16,
        ]
        guard let dtype = types[number] else { throw DeMLError(.dtype, "its type \(number) is not read") }
        return try StridedTensor(
            dtype: dtype, shape: try sizes(meta["sizes"]), strides: try sizes(meta["strides"]),
            offset: meta["storage_offset"]?["as_int"]?.int ?? 0
        ).tensor(in: content)
    }
}
