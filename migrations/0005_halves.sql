-- Values in float16 (10) and bfloat16 (16).
alter table stored_values drop constraint stored_values_dtype_check;
alter table stored_values
    add constraint stored_values_dtype_check check (dtype in (1, 2, 6, 7, 9, 10, 16));
