import Tensors

/// The largest of each window of a sequence, padding counting as -∞: [c, l] → [c, l']. The stride's default is the kernel's
/// size.
struct MaxPool1d: SequencePoolingLayer {
    typealias OfImages = MaxPool2d
    static let type = "max_pool1d"

    /// Of an image with the height 1.
    var window: Window2D
}

extension Layer {
    /// The largest of each window of a sequence, padding counting as -∞. The stride's default is the kernel's size.
    public static func maxPool1d(kernelSize: Int, stride: Int? = nil, padding: Int = 0) -> Layer {
        Layer(MaxPool1d(window: Window2D(length: kernelSize, stride: stride, padding: padding)))
    }
}
