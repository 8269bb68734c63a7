import NeuralNetwork
import Tensors

/// A Keras model: `.keras` of Keras 3 (a zip with config.json and model.weights.h5), or `.h5` of Keras 2 and 3.
struct KerasFile {
    /// The configuration of the whole model: class_name and config.
    let model: JSONTree
    /// Of each layer by its name, in Keras's order.
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
        try read(file, classes: Self.keys(of: model))
    }

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
        for layer in group.attributes["layer_names"] ?? [] {
            guard let object = try file.object(layer, from: group) else { continue }
            var tensors: [Tensor] = []
            for name in object.attributes["weight_names"] ?? [] {
                guard let dataset = try file.object(name, from: object) else {
                    throw DeMLError(.missing, "the weight \(name.quotedForMessage) is not in the file")
                }
                do throws(DeMLError) { tensors.append(try file.tensor(dataset)) } catch {
                    throw error.within(name.quotedForMessage)
                }
            }
            weights[layer] = tensors
        }
    }

    /// `vars` below each layer, and below the cells of a recurrent one; the group has the layer's name as attribute, or the
    /// name of its class with a number.
    private mutating func read(_ file: HDF5File, classes: [String: String]) throws(DeMLError) {
        // The forward layer of a bidirectional one comes before the backward one.
        let groups = try file.groups().sorted { $0.path > $1.path }
        for (path, group) in groups where path.hasSuffix("/vars") && path.hasPrefix("/layers/") {
            let parts = path.split(separator: "/")
            guard (3...5).contains(parts.count), let layer = classes[String(parts[1])] else { continue }
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

    /// The names of layers by the keys that Keras 3 gives them: the class in snake case, and a number for its next ones.
    private static func keys(of model: JSONTree) -> [String: String] {
        var counts: [String: Int] = [:]
        var keys: [String: String] = [:]
        for layer in model["config"]?["layers"]?.list ?? [] {
            guard let type = layer["class_name"]?.text, let name = layer["config"]?["name"]?.text else { continue }
            let key = snakeCase(type)
            let number = counts[key, default: 0]
            counts[key] = number + 1
            keys[number == 0 ? key : "\(key)_\(number)"] = name
        }
        return keys
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
