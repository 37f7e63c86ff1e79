// The part of Foundation that the Apple backend uses, compiled without ARC.
#import <Foundation/Foundation.h>

#include <string>
#include <vector>

#include "foundation.h"

extern "C" {
id class_createInstance(Class type, size_t extra);
void object_dispose(id object);
id objc_retain(id object);
void objc_release(id object);
id objc_autorelease(id object);
}

// Constant strings name their class by this symbol.
__asm__(".globl __CFConstantStringClassReference\n"
        ".set __CFConstantStringClassReference, OBJC_CLASS_$_NSConstantString");

@implementation NSObject
+ (instancetype)alloc {
  return class_createInstance(self, 0);
}
+ (instancetype)new {
  return [[self alloc] init];
}
+ (Class)class {
  return self;
}
- (instancetype)init {
  return self;
}
- (id)copy {
  return [self retain];
}
- (void)dealloc {
  object_dispose(self);
}
- (instancetype)retain {
  return objc_retain(self);
}
- (oneway void)release {
  objc_release(self);
}
- (instancetype)autorelease {
  return objc_autorelease(self);
}
- (Class)class {
  return isa;
}
- (BOOL)isEqual:(id)object {
  return object == self;
}
- (NSUInteger)hash {
  return reinterpret_cast<NSUInteger>(self) >> 4;
}
- (NSString*)description {
  return @"an object";
}
@end

// Nothing here can change what it enumerates.
extern "C" void objc_enumerationMutation(id) { __builtin_trap(); }

@interface SoftString : NSString {
 @public
  std::string text;
}
@end

@implementation NSString
+ (instancetype)alloc {
  return class_createInstance(self == [NSString class] ? [SoftString class] : self, 0);
}
+ (instancetype)stringWithUTF8String:(const char*)text {
  return [[[self alloc] initWithBytes:text
                               length:__builtin_strlen(text)
                             encoding:NSUTF8StringEncoding] autorelease];
}
- (instancetype)initWithBytes:(const void*)bytes
                       length:(NSUInteger)length
                     encoding:(NSStringEncoding)encoding {
  static_cast<SoftString*>(self)->text.assign(static_cast<const char*>(bytes), length);
  return self;
}
- (const char*)UTF8String {
  return static_cast<SoftString*>(self)->text.c_str();
}
- (NSUInteger)length {
  return static_cast<SoftString*>(self)->text.size();
}
- (NSString*)description {
  return [[self retain] autorelease];
}
@end

@implementation SoftString
@end

@implementation NSConstantString
- (const char*)UTF8String {
  return text_;
}
- (NSUInteger)length {
  return static_cast<NSUInteger>(length_);
}
@end

@interface SoftArray : NSArray {
 @public
  std::vector<id> items;
}
@end

@implementation NSArray
- (NSUInteger)count {
  return static_cast<SoftArray*>(self)->items.size();
}
- (id)objectAtIndex:(NSUInteger)index {
  return static_cast<SoftArray*>(self)->items.at(index);
}
- (NSUInteger)countByEnumeratingWithState:(NSFastEnumerationState*)state
                                  objects:(id __unsafe_unretained[])buffer
                                    count:(NSUInteger)length {
  if (state->state) return 0;
  static unsigned long unchanged = 0;
  std::vector<id>& items = static_cast<SoftArray*>(self)->items;
  *state = {1, items.data(), &unchanged, {}};
  return items.size();
}
@end

@implementation SoftArray
- (void)dealloc {
  for (id item : items) [item release];
  [super dealloc];
}
@end

@interface SoftError : NSError {
 @public
  NSString* domain_;
  NSString* description_;
  NSInteger code_;
}
@end

@implementation NSError
- (NSString*)domain {
  return static_cast<SoftError*>(self)->domain_;
}
- (NSInteger)code {
  return static_cast<SoftError*>(self)->code_;
}
- (NSString*)localizedDescription {
  return [[static_cast<SoftError*>(self)->description_ retain] autorelease];
}
@end

@implementation SoftError
- (void)dealloc {
  [domain_ release];
  [description_ release];
  [super dealloc];
}
@end

NSArray<NSString*>* soft_array(const std::vector<std::string>& texts) {
  SoftArray* array = [[SoftArray new] autorelease];
  for (const std::string& text : texts)
    array->items.push_back([[NSString stringWithUTF8String:text.c_str()] retain]);
  return array;
}

NSError* soft_error(NSString* domain, NSInteger code, const std::string& description) {
  SoftError* error = [[SoftError new] autorelease];
  error->domain_ = [domain retain];
  error->code_ = code;
  error->description_ = [[NSString stringWithUTF8String:description.c_str()] retain];
  return error;
}
