import NeuralNetwork
import Tensors

public enum KerasExport {
    public static func encode(_ weights: Weights) throws(DeMLError) -> [UInt8] {
        throw DeMLError(.malformed, "not yet")
    }
}
