import Federation
import NeuralNetwork
import Tensors
import Yams

/// A model description out of a YAML or JSON file, an example with a `model`, or a weights file.
struct ModelFile {
    var source: ModelSource
    /// The file holds weights too.
    var isWeights: Bool

    init(path: String, _ paths: Paths) throws(DeMLError) {
        let place = paths.shown(path)
        let start = try Files.prefix(of: path, count: 16)
        // A safetensors file begins with the header's length and "{", or is gzip-compressed.
        if Gzip.isGzip(start) || (start.count > 8 && start[8] == UInt8(ascii: "{") && start[7] == 0) {
            source = .description(try Weights(Safetensors(contentsOf: path)).model)
            isWeights = true
            return
        }
        let node = try YAMLFile.read(path, paths)
        guard let mapping = node.mapping else {
            throw DeMLError(.malformed, "the file is no model description", place: place)
        }
        do {
            source = try YAMLDecoder().decode(ModelSource.self, from: mapping["model"] ?? node)
            isWeights = false
        } catch {
            throw DeMLError(decoding: error, of: "the model description").at(place)
        }
    }
}
