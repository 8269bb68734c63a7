import Tensors

/// The mean of each window of a sequence, padding counting as zeros: [c, l] → [c, l']. The stride's default is the kernel's
/// size.
struct AveragePool1d: SequencePoolingLayer {
    typealias OfImages = AveragePool2d
    static let type = "avg_pool1d"

    /// Of an image with the height 1.
    var window: Window2D
}

extension Layer {
    /// The mean of each window of a sequence, padding counting as zeros. The stride's default is the kernel's size.
    public static func averagePool1d(kernelSize: Int, stride: Int? = nil, padding: Int = 0) -> Layer {
        Layer(AveragePool1d(window: Window2D(length: kernelSize, stride: stride, padding: padding)))
    }
}
