import Jobs

/// What this machine can do: the answer of `deml-worker benchmark`.
public struct Benchmark: Codable, Sendable, Equatable {
    /// One matrix product C[m][n] = A[m][k]·B[k][n].
    public struct Product: Codable, Sendable, Equatable {
        public var m: Int
        public var n: Int
        public var k: Int
        public var gflops: Double
        /// Of the FMA peak of the threads used.
        public var share: Double
    }

    /// Training one of the example models on synthetic MNIST-shaped data.
    public struct Training: Codable, Sendable, Equatable {
        public var model: String
        public var optimizer: String
        public var batchSize: Int
        public var samplesPerSecond: Double
        /// Of the FMA peak of the threads used, by the operations of the model's products and convolutions.
        public var share: Double

        enum CodingKeys: String, CodingKey {
            case model, optimizer, share
            case batchSize = "batch_size"
            case samplesPerSecond = "samples_per_second"
        }
    }

    public var version = demlVersion
    public var isa: String
    public var threads: Int
    public var processors: Int
    /// Fused multiply-adds in registers, all threads together, counted as two operations.
    public var peakGFLOPS: Double
    public var products: [Product]
    public var training: [Training]
    /// Bytes a second: hashing a file, and expanding a compressed shard.
    public var sha256BytesPerSecond: Double
    public var gunzipBytesPerSecond: Double

    enum CodingKeys: String, CodingKey {
        case version, isa, threads, processors, products, training
        case peakGFLOPS = "peak_gflops"
        case sha256BytesPerSecond = "sha256_bytes_per_second"
        case gunzipBytesPerSecond = "gunzip_bytes_per_second"
    }
}
