import NeuralNetwork
import Tensors

/// A Keras model: `.keras` of Keras 3 (a zip with config.json and model.weights.h5), or `.h5` of Keras 2 and 3.
struct KerasFile {
    /// The configuration of the whole model: class_name and config.
    let model: JSONTree
    /// Of each layer, in Keras's order: by its name, behind the names of the models that it is within ("base/conv1").
    private(set) var weights: [String: [Tensor]] = [:]
    let isKeras3: Bool

    init(_ archive: ZipArchive) throws(DeMLError) {
        func member(_ name: String) throws(DeMLError) -> ArraySlice<UInt8> {
            guard let member = archive.members.first(where: { $0.name == name }) else {
                throw DeMLError(.missing, "the .keras file has no \(name)")
            }
            return try archive.content(of: member, maximumBytes: ForeignModel.maximumBytes)
        }
        model = try JSONTree(parsing: try member("config.json"), of: "config.json")
        isKeras3 = true
        let file = try HDF5File(Array(try member("model.weights.h5")))
        try read(file)
    }

    /// The layers of what is a model; nil for any other layer.
    static func layers(of tree: JSONTree) -> [JSONTree]? {
        guard let type = tree["class_name"]?.text, ["Sequential", "Functional", "Model"].contains(type) else {
            return nil
        }
        return tree["config"]?["layers"]?.list
    }

    private static func name(of layer: JSONTree) -> String? { layer["config"]?["name"]?.text }

    static func isKeras(_ archive: ZipArchive) -> Bool {
        archive.members.contains { $0.name == "model.weights.h5" || $0.name == "config.json" }
    }

    /// A whole model in one HDF5 file.
    init(hdf5 bytes: [UInt8]) throws(DeMLError) {
        let file = try HDF5File(bytes)
        guard let text = file.root.attributes["model_config"]?.first else {
            throw DeMLError(
                .missing, "the HDF5 file has no model_config: it holds weights alone",
                hint: "save the whole model: model.save(\"model.keras\")")
        }
        model = try JSONTree(parsing: Array(text.utf8)[...], of: "model_config")
        let version = file.root.attributes["keras_version"]?.first ?? ""
        isKeras3 = version.hasPrefix("3")
        guard let group = try file.object("model_weights") else { return }
        var known: [String: Level] = [:]
        for layer in group.attributes["layer_names"] ?? [] {
            guard let object = try file.object(layer, from: group) else { continue }
            for name in object.attributes["weight_names"] ?? [] {
                guard let dataset = try file.object(name, from: object) else {
                    throw DeMLError(.missing, "the weight \(name.quotedForMessage) is not in the file")
                }
                let path = owner(of: name.split(separator: "/")[...], within: layer, &known)
                do throws(DeMLError) { weights[path, default: []].append(try file.tensor(dataset)) } catch {
                    throw error.within(name.quotedForMessage)
                }
            }
        }
    }

    /// The layers of the model, or of a model within it.
    private struct Level {
        var byName: [String: JSONTree] = [:]
        /// As Keras 3 writes them: the class in snake case, with a number for the next ones.
        var byKey: [String: JSONTree] = [:]

        init(_ model: JSONTree) {
            var counts: [String: Int] = [:]
            for layer in KerasFile.layers(of: model) ?? [] {
                guard let type = layer["class_name"]?.text, let name = KerasFile.name(of: layer) else { continue }
                byName[name] = layer
                let key = KerasFile.snakeCase(type)
                let number = counts[key, default: 0]
                counts[key] = number + 1
                byKey[number == 0 ? key : "\(key)_\(number)"] = layer
            }
        }
    }

    private func level(_ path: String, _ model: JSONTree, _ known: inout [String: Level]) -> Level {
        if let level = known[path] { return level }
        let level = Level(model)
        known[path] = level
        return level
    }

    /// Which layer a weight is of that an `.h5` has with a layer of the whole model: that one, or one within it.
    private func owner(
        of parts: ArraySlice<Substring>, within name: String, _ known: inout [String: Level]
    ) -> String {
        var path = name
        var parts = parts
        var layer = level("", model, &known).byName[name]
        for _ in 0..<8 {
            guard let model = layer, Self.layers(of: model) != nil else { break }
            let inner = level(path, model, &known).byName
            guard let index = parts.firstIndex(where: { inner[String($0)] != nil }) else { break }
            layer = inner[String(parts[index])]
            path += "/\(parts[index])"
            parts = parts[(index + 1)...]
        }
        return path
    }

    /// `vars` below each layer, and below the cells of a recurrent one; the group has the layer's name as attribute, or the
    /// name of its class with a number.
    private mutating func read(_ file: HDF5File) throws(DeMLError) {
        // The forward layer of a bidirectional one comes before the backward one.
        var known: [String: Level] = [:]
        let groups = try file.groups().sorted { $0.path > $1.path }
        for (path, group) in groups where path.hasSuffix("/vars") && path.hasPrefix("/layers/") {
            guard let layer = layer(at: path.split(separator: "/")[...], &known) else { continue }
            var tensors: [Tensor] = []
            for index in 0..<group.links.count {
                guard let link = group.links.first(where: { $0.name == "\(index)" }),
                    let dataset = try file.object(link.name, from: group)
                else { break }
                do throws(DeMLError) { tensors.append(try file.tensor(dataset)) } catch {
                    throw error.within(path + "/\(index)")
                }
            }
            if !tensors.isEmpty { weights[layer, default: []] += tensors }
        }
    }

    /// The layer whose weights are in a group `layers/KEY/…/vars`, in a model within the model `layers/KEY/layers/KEY/…`.
    private func layer(at path: ArraySlice<Substring>, _ known: inout [String: Level]) -> String? {
        var (path, names, model) = (path, "", model)
        for _ in 0..<8 {
            guard path.count >= 3, path.first == "layers",
                let layer = level(names, model, &known).byKey[String(path[path.startIndex + 1])],
                let name = Self.name(of: layer)
            else { return nil }
            names += names.isEmpty ? name : "/\(name)"
            path = path.dropFirst(2)
            // In a layer within this one there may be a cell and a direction.
            guard Self.layers(of: layer) != nil else { return path.count <= 3 ? names : nil }
            model = layer
        }
        return nil
    }

    /// As keras.src.utils.naming.to_snake_case: `Conv2DTranspose` is `conv2d_transpose`.
    static func snakeCase(_ name: String) -> String {
        let letters = Array(name.filter { $0.isLetter || $0.isNumber || $0 == "_" })
        var result = ""
        for (index, letter) in letters.enumerated() {
            if index > 0, letter.isUppercase {
                let before = letters[index - 1]
                let next = index + 1 < letters.count ? letters[index + 1] : nil
                if before.isLowercase || (before.isUppercase || before.isNumber) && next?.isLowercase == true {
                    result += "_"
                }
            }
            result += letter.lowercased()
        }
        return result
    }
}
