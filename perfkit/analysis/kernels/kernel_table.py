"""Kernels by their own names, `CamelCase` written as `camel_case`: what each library calls its kernels.

`KERNELS` is asked of the function's own name first and of its template arguments second, `GENERAL` of both after that:
`elementwise_kernel<FillFunctor<float>>` fills. A kernel that does several things counts as what comes first here: a
store into the cache before rope, a norm before rope and quantisation, a matmul before what its epilogue does.
"""

from __future__ import annotations

from perfkit.analysis.kernels import kinds
from perfkit.analysis.kernels.patterns import table

_ATEN = "PyTorch, aten/src/ATen/native/cuda"

QUALIFIED = table(
    (kinds.COMMUNICATION, "DeepEP, csrc/kernels: deep_ep::internode_ll::dispatch; pplx-kernels",
        r"\b(deep_ep|pplx)::(\w+::)*(cached_|notify_)*(dispatch|combine|barrier)"),
    (kinds.MATMUL, "TensorRT-LLM, kernels/weightOnlyBatchedGemv", r"\bweight_only::kernel$"),
)  # fmt: skip
"""By the name with its namespaces: only where both together are the name of one library's function."""

KERNELS = table(
    (kinds.WAIT, "Kineto's mtia_ccp_events: event_wait, event_record", r"^event_(wait|record)$"),
    (kinds.COPY, "Kineto's mtia_ccp_events: dma_request", r"^dma_request$"),
    (kinds.PROGRAM, "Kineto's mtia_ccp_events: pe_exe; remote and merge, the two parts of a served model",
        r"^(pe_exe|remote|merge)$"),
    (kinds.COMMUNICATION, "NCCL: ncclKernel_ until 2.18, ncclDevKernel_ since; RCCL, MSCCL, HCCL",
        r"^(nccl|rccl|msccl|hccl|hcom_)"),
    (kinds.COMMUNICATION, "vLLM, csrc/custom_all_reduce.cuh; AITER; TensorRT-LLM and FlashInfer: allreduce_fusion_kernel",
        r"cross_device_(reduce|store)|(?<![a-z])(all_?reduce|reduce_?scatter|all_?gather|all_?(to|2)_?all|send_?recv)"),
    (kinds.COMMUNICATION, "PyTorch, symmetric memory (torch/csrc/distributed/c10d); NVSHMEM; Transformer Engine: userbuffers",
        r"nvshmem|multimem_|(one|two)_shot_(all_reduce|reduce_scatter)|user_?buffers|(put|wait)_signal|barrier_(on_stream|all|kernel$)"),
    (kinds.COMMUNICATION, "Exchange between experts: FlashInfer's and TensorRT-LLM's moeA2ADispatch, MORI's EpDispatch",
        r"a2_?a_?(dispatch|combine|prepare)|(?<![a-z])ep_?(dispatch|combine)"),
    (kinds.MATMUL, "Names that go on with the kernel's settings: Tensile and hipBLASLt: Cijk_; cuBLAS: nvjet; trtllm-gen: bmm_, gemm_",
        r"^(custom_)?cijk_|^nvjet|^(bmm|gemm)_"),
    (kinds.MATMUL, "TensorRT's Myelin names a kernel after what it fuses: __myl_FcAdd_", r"^__myl_.{0,200}(?<![a-z])(fc|mat_?mul)(?![a-z])"),
    (kinds.SOFTMAX, "Myelin: __myl_MaxSubExpSumDiv_", r"^__myl_.{0,100}max_.{0,20}sub_.{0,20}exp"),
    (kinds.NORMALISATION, "Myelin: __myl_MeanSubMulMeanAddSqrtDiv_", r"^__myl_.{0,100}(mean?|sum)_.{0,60}r?sqrt?_"),
    (kinds.REDUCTION, "Mamba: selective scans and the chunked scans of its second version",
        r"selective_(scan|state)|chunk_(scan|state|cumsum)|state_passing|ssd_"),
    (kinds.MATMUL, "Experts' matmuls: vLLM's fused_moe_kernel, Composable Kernel: kernel_moe_gemm, AITER: fmoe_, ck_moe_stage1",
        r"fused_moe(?!_router|_gate)|(?<![a-z])fmoe|moe_stage|moe_.{0,60}(gemm|flatmm|mat_?mul)|(gemm|flatmm).{0,40}moe"),
    (kinds.QUANTISATION, "vLLM, SGLang: cvt_fp16_to_fp4_expert; bitsandbytes: kdequant_mm_int32",
        r"(quant|to_fp4).{0,60}(moe|expert)|moe.{0,60}quant|dequant_mm"),
    (kinds.ROUTING, "vLLM, SGLang, TensorRT-LLM, Composable Kernel: topkGatingSoftmax, moe_align_block_size, MoeSortingKernel",
        r"(?<![a-z])moe|expert|routing|router(?!_gemm)|top_?k_?(gating|soft_?max|sigmoid)|grouped_topk|topk_with_k2"
        r"|group_idx_and_topk|(fused|deepseek_v3)_topk"),
    (kinds.ROUTING, "Tokens to experts and back: TensorRT-LLM's finalizeKernel, SGLang's ep_scatter, DeepEP's layout, Megatron",
        r"^finalize_(kernel|deep)|ep_(scatter|gather)|(pre|post)_reorder|expand_input_rows|dispatch_layout|row_id_map"
        r"|sort_chunks_by|shuffle_(input_)?rows|^_?(un)?permute_kernel|src2_?dst|seg_indptr|group_gemm_starts|problem_sizes"
        r"|compute_strides_tma"),
    (kinds.ROUTING, "OpenAI's triton_kernels: _topk_forward, _sum_bitmatrix_rows, _expt_data_compute",
        r"_topk_(forward|backward)|bitmatrix|expt_data"),
    (kinds.CACHE, "vLLM: reshape_and_cache; SGLang: store_kvcache, fused_rope_store; FlashInfer: AppendPagedKVCache",
        r"and_cache|(store|write|append|update|set|move|copy|swap|gather|load|fill)_(paged_|mla_|all_layer_)?kv|rope_store"
        r"|kv_?cache_(store|write|update|copy|append|transfer)|k_quant_cache|dequant_cache|(copy|swap)_blocks"),
    (kinds.CACHE, "Where keys and values are: SGLang's allocators and kv_indices, vLLM's slot mappings and block tables",
        r"kv_indices|alloc_(decode|extend)|req_to_token|slot_mapping|block_tables?(?![a-z])|token_pool|cache_loc|last_loc|^transfer_kernel_impl"),
    (kinds.ATTENTION, "FlashAttention: flash_fwd_kernel, FlashAttnFwdSm90, FlashAttnFwdCombine; FlashMLA",
        r"flash_?(attn|attention|fwd|bwd|decod|mla)|(?<![a-z])mha_(fwd|bwd|varlen)|convert_d[qkv]|dot_do_o|varlen_num_blocks"),
    (kinds.ATTENTION, "xFormers and PyTorch's copy of it: fmha_cutlassF; trtllm-gen: fmhaSm100; Composable Kernel: FmhaFwdKernel",
        r"fmha|attention|(?<![a-z])(m?mha|xqa)(?![a-z])|(?<![a-z])mla(?![a-z]|_rope)"),
    (kinds.ATTENTION, "cuDNN: cudnn_generated_fort_native_sdpa; AOTriton: attn_fwd, bwd_kernel_dk_dv; SageAttention: sage_fwd; AITER: pa_bf16",
        r"sdpa|attn|aotriton|bwd_kernel_d[kq]|(?<![a-z])sage(?![a-z])|qk_int8?_?sv|^pa_(bf16|fp16|fp8|a\d)"),
    (kinds.ATTENTION, "FlashInfer: BatchPrefillWithPagedKVCacheKernel, MergeStates; DeepGEMM: fp8_paged_mqa_logits",
        r"(prefill|decode)_with_(paged_|ragged_)?kv|merge_states?(?![a-z])|mqa_logits"),
    (kinds.ATTENTION, "Triton's tutorial, vLLM, SGLang: _fwd_kernel, _fwd_grouped_kernel_stage1, _bwd_preprocess, reduce_segments",
        r"^_{0,2}(fwd|bwd)_(grouped_)?(kernel|preprocess)|reduce_segments"),
    (kinds.ATTENTION, "Linear attention (flash-linear-attention): chunk_gated_delta_rule_fwd_kernel_h",
        r"delta_rule|linear_attn|lightning|^chunk_(fwd|bwd)_kernel|recompute_w_u|_kkt_|solve_tril|fused_recurrent|gdn_|merge_\d+x\d+"),
    (kinds.NORMALISATION, f"{_ATEN}/layer_norm_kernel.cu, Normalization.cuh, group_norm_kernel.cu; vLLM, FlashInfer, Liger, AITER",
        r"(layer|batch|group|instance|rms|weight|qk|q_k|qkv|l2|ada)_?norm(?!_functor)|rowwise_moments|gamma_?beta|welford"
        r"|compute_(fused_params|internal_gradients)"),
    (kinds.NORMALISATION, "cuDNN: bn_fw_tr_1C11; Transformer Engine: ln_fwd_kernel; Apex: cuComputeGradInput; DeepSpeed: fused_ln",
        r"bn_(fw|bw)|norm_(fwd|bwd|forward|backward)|(?<![a-z])ln_(fwd|bwd)|cu_compute_grad_input|(fused|residual)_ln"),
    (kinds.ROPE, "vLLM: rotary_embedding_kernel; FlashInfer: BatchQKApplyRotary; Megatron, TE: fused_rope_forward; AITER: kn_entry_2c_sbhd",
        r"rotary|(?<![a-z])(m|qk)?_?rope(?![a-z])|^kn_entry_\dc_"),
    (kinds.LOSS, f"{_ATEN}/Loss.cu, NLLLoss2d.cu; Liger's and Apex's fused losses",
        r"cross_?entropy|xentropy|nll_?(loss|crit)|(?<![a-z])loss|kl_?div|(?<![a-z])(mse|bce|jsd|huber|smooth_l1|ctc)(?![a-z])"),
    (kinds.SOFTMAX, f"{_ATEN}/SoftMax.cu, PersistentSoftmax.cuh; Megatron's scaled masked softmax; FlashInfer: OnlineSoftmax",
        r"soft_?max"),
    (kinds.EMBEDDING, f"{_ATEN}/Embedding.cu, EmbeddingBackwardKernel.cu, EmbeddingBag.cu",
        r"embedding|krn_partial"),
    (kinds.EMBEDDING, "FBGEMM's sparse operators: split_embedding_codegen, permute_2D_data, jagged_, bounds_check_indices",
        r"jagged|permute_(1_?d|2_?d|pooled|sparse|indices|sequence|lengths|data)|bounds_check|linearize_|bucketize|long_segments"
        r"|offsets_range|lxu_cache|pooled_embs|segment_sum_csr"),
    (kinds.OPTIMIZER, f"{_ATEN}/fused_adam_impl.cu; Apex, csrc/multi_tensor_adam.cu; bitsandbytes: kOptimizer32bit2State",
        r"(?<![a-z])(adam|adam_?w|adagrad|sgd|lamb|lion|adafactor|novo_?grad|muon|rmsprop)(?![a-z])|fused_?adam|optimizer"),
    (kinds.POOLING, f"{_ATEN}/DilatedMaxPool2d.cu, AveragePool2d.cu, UpSample*.cu, GridSampler.cu; TensorRT: xmma_pooling",
        r"pool|up_?sampl|grid_?sampl|interpolat|roi_align|sub_?sample|resize_(bilinear|bicubic|nearest)"),
    (kinds.CAST, "cuDNN: nchwToNhwcKernel; MIOpen: batched_transpose, transpose_NCHW2CNHW; vLLM: gptq_marlin_repack",
        r"nchw_?(to|2)|nhwc_?(to|2)|cnhw_?(to|2)|batched_transpose|repack"),
    (kinds.CONVOLUTION, "cuDNN: fprop, dgrad, wgrad, winograd, fft2d, implicit_gemm, scudnn, computeOffsetsKernel; PyTorch: im2col",
        r"conv(?!er|ey)|wgrad(?!_gemm)|dgrad|fprop|winograd|fft2d_|im2_?col|col2_?im|implicit_gemm|scudnn|\dcudnn|cask_cudnn"
        r"|compute_((wgrad_)?(b_|split_k_))?offsets_kernel"),
    (kinds.CONVOLUTION, "MIOpen: igemm_fwd_gtcx3, miopenSp3AsmConv, Im2d2Col; Composable Kernel: xdlops_bwd_weight",
        r"^igemm_(fwd|bwd|wrw)|miopen_?sp3|gcn_?asm|im2d2_?col|col2_?im2d|bwd_(weight|data)"),
    (kinds.ELEMENTWISE, "vLLM, SGLang: _silu_mul_fp8_quant_deep_gemm, which precedes the matmul in its name",
        r"^_{0,2}(masked_m_)?(silu|gelu|act)_(and_)?mul"),
    (kinds.MATMUL, "cuBLAS: nvjet since CUDA 12.8; ampere_, turing_, volta_ and gemv before; cublasLt: splitKreduce, globalKernel",
        r"cublas|gemv|split_?k(?!e|_?v)|dot_kernel|(ampere|turing|volta|hopper)_.{0,500}_tn|s\d+(16816|1688|884)"
        r"|^global_kernel$"),
    (kinds.MATMUL, "CUTLASS, and xmma as cuBLAS, cuDNN and TensorRT have it; cuTENSOR: contraction",
        r"cutlass|xmma|contraction"),
    (kinds.MATMUL, "DeepGEMM; vLLM for ROCm: wvSplitK, LLGemm1; Marlin, Machete; llama.cpp: mul_mat; OpenAI's _matmul_ogs; Inductor: triton_mm",
        r"(?<!fb)gemm|mat_?mul|wv_?spl?t_?k|(?<![a-z])b?mm(?![a-z])|(?<![a-z])marlin|machete|mul_mat|flatmm|(?<![a-z])(trsm|trmm|syrk)"
        r"|^_(sdd|dsd|dds)_kernel|lora_(shrink|expand)|[bs]gmv|^batched_triton_kernel$"),
    (kinds.ELEMENTWISE, "vLLM, FlashInfer: act_and_mul_kernel; SGLang: silu_mul_quant; TensorRT-LLM: doActivationKernel; Liger: _swiglu_",
        r"(act|silu|gelu|relu\d?|swish)_?(and_)?mul|swi_?glu|ge_?glu|activation"),
    (kinds.QUANTISATION, "vLLM: scaled_fp8_quant; SGLang: per_token_group_quant_8bit; TensorRT-LLM: quantize_with_block_size; FBGEMM",
        r"quant|cast_(mx|nv)?fp[48]|h?fp8_?row|(to|from)_(h?fp8|fp4|nvfp4|mxfp)|cvt_.{0,40}fp[48]|hfp8|fp8_qparam|absmax|block_scale_interleave"
        r"|scale_1x128|ue8m0|reconstruct_(exllama|gptq)"),
    (kinds.RANDOM, f"{_ATEN}/DistributionTemplates.h, Dropout.cu; cuRAND; sampling of tokens: FlashInfer's TopPSampling",
        r"philox|curand|distribution_|dropout|bernoulli|random|multinomial|gumbel|sampling|(?<![a-z])(?<!sub_)samples?(?![a-z])"),
    (kinds.REDUCTION, f"{_ATEN}/TensorTopK.cu, Sort.cu; CUB, hipCUB, rocPRIM",
        r"top_?k|top_?p(?![a-z])|radix|sort|arg_?(max|min)|histogram|segmented_max"),
    (kinds.EMBEDDING, f"{_ATEN}/Indexing.cu, IndexKernel.cu, ScatterGatherKernel.cu, Nonzero.cu, RepeatInterleave.cu; SGLang: token ids",
        r"gather|scatter|(?<![a-z])index_?(select|elementwise|copy|add|fill|put|reduce|func|kernel)|indexing|(?<![a-z])take_"
        r"|nonzero|masked_(select|scatter)|repeat_interleave|compute_cuda_kernel|^lookup_kernel|^index(_v\d)?$|device_select|token_ids"),
    (kinds.REDUCTION, f"{_ATEN}/Reduce.cuh, ScanUtils.cuh, ForeachReduceOp.cu; CUB; Apex: L2NormFunctor",
        r"reduce|reduction|scan|cum_?(sum|prod)|norm_(kernel|functor|two|ops)|(?<![a-z])(sum|mean|max|min|amax)_(kernel|ops)"
        r"|device_compact|lp_?norm|(?<![a-z])cleanup"),
    (kinds.DEVICE_TO_DEVICE, "ROCclr's own copies, which run as kernels",
        r"amd_rocclr_copy"),
    (kinds.MEMSET, f"{_ATEN}/FillKernel.cu; CUDA's and ROCclr's own",
        r"(?<![a-z])(?<!masked_)fill|memset|(?<![a-z])zeros?(?![a-z])"),
    (kinds.CAST, f"{_ATEN}/Copy.cu, Shape.cu (CatArrayBatchedCopy), ForeachBinaryOpScalar.cu (Copy); TensorRT: copyVectorizedKernel",
        r"copy|(?<![a-z])cast(?![a-z])|cat_?array|concat|memcpy|split_with_sizes|chunk_cat|convert(?![a-z])|to_copy"),
    (kinds.CAST, "Whoever names it so: transposes, permutations, padding, packing, interleaving",
        r"transpose|permut|reformat|reshape|(?<![a-z])(un)?pack(?!ed)|(?<![a-z])pad(ding)?(?![a-z])|(?<![a-z])(flip|roll|repeat|stack|tile)(_|$)|trans_data|slice|layout|swizzle"
        r"|interleave|reorder"),
)  # fmt: skip
"""Ordered: the first that matches decides."""

COLLECTIVE_WORDS = (
    "ccl", "hcom", "crossdevice", "allreduce", "allgather", "alltoall", "all2all", "reducescatter", "sendrecv", "shmem", "multimem",
    "shot", "userbuffers", "signal", "barrier", "a2a", "epdispatch", "epcombine", "deepep", "pplx",
)  # fmt: skip
"""Any name that the rows of communication match has one of these in it, in lower case and without `_`."""

GENERAL = table(
    (kinds.ELEMENTWISE, f"{_ATEN}/CUDALoops.cuh, ForeachFunctors.cuh; cuDNN and MIOpen: OpTensor, MIOpenNeuronFwd; TensorRT: __myl_",
        r"elem(ent)?_?wise|pointwise|vectorized|unrolled|foreach|multi_tensor_apply|silu|gelu|relu|(?<![a-z])glu|sigmoid|tanh"
        r"|tril|triu|arange|linspace|binary|unary|op_(generic_)?tensor|op\d?_?d?_?tensor|scal_kernel|scale_?packed|clamp|functor|transform|neuron|gated|^pw_?gen|^__myl_"),
    (kinds.ELEMENTWISE, "Whoever names a kernel after its arithmetic",
        r"(?<![a-z])(add|sub|mul|div|neg|exp|log|sqrt|rsqrt|pow|bias|where|compare|sin|cos|abs|erf|lerp|polar|axpy|axpby|scale"
        r"|mask(ed)?|not|equal|greater|less|penalt(y|ies)|temperature|parallel_for|position)(?![a-z])"),
)  # fmt: skip
"""Kernels that apply something to each element, where nothing above says more."""
